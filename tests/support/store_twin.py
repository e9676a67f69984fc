"""A store beside the model that it must equal, and how the two are compared."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from functools import partial
from itertools import count
from typing import Final, TypeVar

import msgspec

from ff_proxy.errors import StoreUnavailable
from ff_proxy.model.environment import EnvironmentConfig, Revision, UpstreamStatus
from ff_proxy.model.keys import EnvironmentId, Secret
from ff_proxy.model.target import Target
from ff_proxy.store.merge import retired_name
from ff_proxy.store.protocol import UNKNOWN, ConfigStore, Registration, Store, UsageLease
from ff_proxy.store.redis import RedisStore
from tests.support.redis_server import RedisServer
from tests.support.store_model import ConfigModel, HeldEnvironment, RegistrationModel, UsageModel

_Result = TypeVar("_Result")
USAGE: Final = 1_000_000
REGISTRATIONS: Final = 1_000_000

NAMES = ("a", "b:c", "ünï")
ENVIRONMENTS = [
    EnvironmentId("3ad4b1c8-31b7-4f5e-9a36-6b0f8f3c1f00"),
    EnvironmentId("x61"),
    EnvironmentId("a b"),
]

Open = Callable[[str], AbstractAsyncContextManager[Store]]


class Twin:
    """A store, and the model that it must equal.

    Args:
        open_store: opens it; the argument names the opening.
        shared: all environments share the capacity of its queues.
        emptied: the servers of a store that can be emptied.
        durable: it lives on when it is closed.
        members: in how many processes it is open; all but the first only read.
    """

    def __init__(
        self,
        name: str,
        open_store: Open,
        *,
        shared: bool,
        durable: bool,
        emptied: Sequence[RedisServer] = (),
        members: int = 1,
    ) -> None:
        self.name = name
        self.durable = durable
        self.emptied = emptied
        self.configs = ConfigModel()
        self.usage = UsageModel(USAGE, shared=shared)
        self.registrations = RegistrationModel(REGISTRATIONS, shared=shared)
        self.targets: dict[tuple[EnvironmentId, str], Target] = {}
        self.statuses: dict[EnvironmentId, UpstreamStatus] = {}
        self.reported: set[EnvironmentId] = set()
        self.leases: list[UsageLease] = []
        self.taken: list[Registration] = []
        self.secret: Secret | None = None
        self.states: dict[tuple[EnvironmentId, Revision], object] = {}
        self._open_store = open_store
        self._members = members
        self._openings = count()
        self.open_stores: list[Store] = []
        self._heard: dict[EnvironmentId, Revision | None] = {}
        self._told = asyncio.Condition()
        self._watching: asyncio.Task[None] | None = None

    @property
    def store(self) -> Store:
        """The one that is written to."""
        return self.open_stores[0]

    async def open(self) -> None:
        """Open every member, and begin to watch."""
        for _ in range(self._members):
            store = self._open_store(f"{self.name}-{next(self._openings)}")
            self.open_stores.append(await store.__aenter__())
        watching = asyncio.Event()
        self._watching = asyncio.create_task(self._watch(self.open_stores[-1].configs, watching))
        await watching.wait()
        await self.poll()
        if self.secret is not None:
            # Every process asks at its start, and so can put the secret back later.
            for store in self.open_stores:
                assert await store.secrets.auth_secret(Secret("late")) == self.secret

    async def close(self) -> None:
        """Close every member."""
        assert self._watching is not None
        self._watching.cancel()
        await asyncio.gather(self._watching, return_exceptions=True)
        while self.open_stores:
            await self.open_stores.pop().__aexit__(None, None, None)

    async def poll(self) -> None:
        """What members do from time to time."""
        for store in self.open_stores:
            if isinstance(store, RedisStore):
                await store.recovery.poll()

    async def hears(self, environment: EnvironmentId, revision: Revision | None) -> None:
        """Wait until the watcher knows the environment's newest revision."""
        async with asyncio.timeout(5), self._told:
            await self._told.wait_for(lambda: self._heard.get(environment) == revision)

    async def check(self, since: float) -> None:
        """Compare everything that can be read; every member must read the same."""
        for store in self.open_stores:
            revisions = await store.configs.environments()
            assert set(revisions) == set(self.configs.held)
            for environment in ENVIRONMENTS:
                await self._check_environment(store.configs, environment, since)
                for name in NAMES:
                    wanted = self.targets.get((environment, name))
                    assert await patiently(partial(store.targets.get, environment, name)) == wanted
                    peeked = store.targets.peek(environment, name)
                    assert peeked is UNKNOWN or peeked == wanted
            assert await store.configs.statuses() == self.statuses
            assert await store.usage.pending() == self.usage.pending()

    async def _check_environment(
        self, configs: ConfigStore, environment: EnvironmentId, since: float
    ) -> None:
        found, wanted = await configs.environment(environment), self.configs.held.get(environment)
        if wanted is None or found is None:
            assert found is None
            assert wanted is None
            assert list(await configs.recent(environment, since)) == []
            return
        state = _state(found)
        assert state == _wanted(wanted)
        assert (await configs.environments())[environment] == found.revision
        assert self.states.setdefault((environment, found.revision), state) == state
        recent = list(await configs.recent(environment, since))
        if self.durable:
            assert sorted(recent, key=repr) == sorted(
                (entry for entry in wanted.recent.values() if entry.at > since), key=repr
            )
        assert recent == sorted(recent, key=lambda entry: entry.at)

    async def _watch(self, configs: ConfigStore, watching: asyncio.Event) -> None:
        async with configs.watch() as notices:
            watching.set()
            async for notice in notices:
                async with self._told:
                    self._heard[notice.environment] = notice.revision
                    self._told.notify_all()


async def patiently(call: Callable[[], Awaitable[_Result]]) -> _Result:
    """What waits for Redis for a moment only may not have its answer in time on a busy machine."""
    async with asyncio.timeout(20):
        while True:
            with suppress(StoreUnavailable):
                return await call()


def _state(found: EnvironmentConfig) -> object:
    held = {
        (item.domain, name): (item.version, item.digest, msgspec.json.decode(item.wire)["version"])
        for name, item in (*found.flags.items(), *found.segments.items())
    }
    return found.info, found.keys, held, dict(found.retired), found.since


def _wanted(wanted: HeldEnvironment) -> object:
    held = {name: (version, digest, version) for name, (version, digest) in wanted.items.items()}
    retired = {retired_name(*name): version for name, version in wanted.retired.items()}
    return wanted.info, wanted.keys, held, retired, wanted.since
