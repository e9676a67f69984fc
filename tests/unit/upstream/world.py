"""What tests of this room have in common: SaaS, a store, time and a log, all in memory."""

import asyncio
import io
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from random import Random
from typing import Any

from ff_proxy.errors import StoreUnavailable
from ff_proxy.model.environment import EnvironmentConfig, Revision, UpstreamStatus
from ff_proxy.model.keys import EnvironmentId, SdkKey
from ff_proxy.store.memory import MemoryConfigs, MemoryTargets
from ff_proxy.store.protocol import Edit
from ff_proxy.telemetry import Telemetry
from ff_proxy.telemetry.logs import make_logger
from ff_proxy.upstream.context import Schedule, SyncIntervals, UpstreamContext
from ff_proxy.upstream.credentials import Credentials, EnvironmentDirectory, Session
from ff_proxy.upstream.leadership import Leadership, SoleLeader, Work
from ff_proxy.upstream.service import Upstream
from tests.support.clock import FakeClock
from tests.support.saas import ENV, KEY, FakeSaas, admin_api, client_api

ENVIRONMENT = EnvironmentId(ENV)
DEFAULTS = SyncIntervals()
AWAY = "Harness cannot be used"
BACK = "Harness can be used again"
STORE_BACK = "the store can be used again"


class Configs(MemoryConfigs):
    """The memory store, which can be away."""

    def __init__(self) -> None:
        super().__init__("test", FakeClock())
        self.away = False
        self.replaced = 0
        self.removed: list[EnvironmentId] = []

    async def environment(self, environment: EnvironmentId) -> EnvironmentConfig | None:
        self._answer()
        return await super().environment(environment)

    async def replace(self, config: EnvironmentConfig) -> Revision:
        self._answer()
        self.replaced += 1
        return await super().replace(config)

    async def apply(self, environment: EnvironmentId, edit: Edit) -> Revision | None:
        self._answer()
        return await super().apply(environment, edit)

    async def remove(self, environment: EnvironmentId) -> None:
        self._answer()
        self.removed.append(environment)
        await super().remove(environment)

    async def set_status(self, environment: EnvironmentId, status: UpstreamStatus) -> None:
        self._answer()
        await super().set_status(environment, status)

    def holds(self, environment: EnvironmentId) -> bool:
        """As a snapshot that follows at once."""
        return environment in self._environments

    def _answer(self) -> None:
        if self.away:
            raise StoreUnavailable("the store is away")


class Fleet(SoleLeader):
    """Others could lead.

    Attributes:
        led: the environments that are led here, one for each key that leads.
        left: those that were left to others.
        unreachable: of each that was ever led, whether Harness cannot be reached for it from here.
    """

    contested = True

    def __init__(self) -> None:
        self.led: list[EnvironmentId] = []
        self.left: list[EnvironmentId] = []
        self.unreachable: dict[EnvironmentId, Callable[[], bool]] = {}

    async def lead(self, environment: EnvironmentId, work: Work, is_unreachable: Callable[[], bool]) -> None:
        self.unreachable[environment] = is_unreachable
        self.led.append(environment)
        try:
            await super().lead(environment, work, is_unreachable)
        finally:
            self.led.remove(environment)

    async def leave(self, environment: EnvironmentId) -> None:
        self.left.append(environment)


class World:
    """One of each."""

    def __init__(self, clock: FakeClock | None = None) -> None:
        self.saas = FakeSaas()
        self.clock = clock or FakeClock()
        self.out = io.StringIO()
        self.telemetry = Telemetry(make_logger("DEBUG", self.out), self.clock)
        self.schedule = Schedule(self.clock, Random(7))
        self.api = client_api(self.saas, self.telemetry)
        self.admin = admin_api(self.saas)
        self.configs = Configs()
        self.targets = MemoryTargets(self.clock)
        self.trouble = ""
        self.lagging = False

    def service(self, *keys: SdkKey, leadership: Leadership | None = None, targets: float = 0.0) -> Upstream:
        """The service for these keys; by default nobody else could lead, and targets are not polled."""
        return Upstream(
            self.context(SyncIntervals(targets=targets)),
            keys,
            EnvironmentDirectory(),
            leadership or SoleLeader(),
            served=lambda name: not self.lagging and self.configs.holds(name),
        )

    def context(self, intervals: SyncIntervals = DEFAULTS) -> UpstreamContext:
        """What all parts of the synchronisation use."""
        return UpstreamContext(
            api=self.api,
            admin=self.admin,
            configs=self.configs,
            targets=self.targets,
            telemetry=self.telemetry,
            schedule=self.schedule,
            intervals=intervals,
        )

    @property
    def log(self) -> str:
        """All lines logged so far."""
        return self.out.getvalue()

    def said(self, event: str) -> list[dict[str, object]]:
        """The lines about ``event``, without those that are for DEBUG only."""
        return [line for line in self.lines() if line["event"] == event and line["level"] != "debug"]

    def lines(self) -> list[dict[str, object]]:
        """All lines, read."""
        return [json.loads(line) for line in self.log.splitlines()]

    async def session(self) -> Session:
        """A session that SaaS gave."""
        return await self.api.authenticate(KEY)

    async def credentials(self) -> Credentials:
        """Credentials with that session."""
        return Credentials(await self.session(), self.api.authenticate)

    async def config(self) -> EnvironmentConfig:
        """What the store holds, which it has to."""
        config = await self.configs.environment(ENVIRONMENT)
        assert config is not None
        return config

    async def versions(self) -> dict[str, int]:
        """Flags and segments held, with their versions."""
        config = await self.config()
        items = {**config.flags, **config.segments}
        return {name: item.version for name, item in items.items()}


@asynccontextmanager
async def running(work: Coroutine[Any, Any, None]) -> AsyncIterator[asyncio.Task[None]]:
    """``work`` as a task for as long as the context lasts; what it raises is raised."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
