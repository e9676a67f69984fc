"""An outage that a hundred environments share is told in some lines, not in some for each of them."""

import asyncio
import heapq
from collections import Counter
from random import Random

import pytest

from ff_proxy.errors import UpstreamUnavailable
from ff_proxy.model.keys import EnvironmentId, SdkKey
from ff_proxy.telemetry import Telemetry
from ff_proxy.telemetry.logs import make_logger
from ff_proxy.upstream.context import Schedule, SyncIntervals, UpstreamContext
from ff_proxy.upstream.credentials import EnvironmentDirectory
from ff_proxy.upstream.service import Upstream
from ff_proxy.upstream.transport import Reply
from tests.support.clock import FakeClock
from tests.support.leader_election import leader_election
from tests.support.saas import FakeSaas, admin_api, client_api, error, flag_doc
from tests.unit.upstream.world import AWAY, BACK, World

_ENVIRONMENTS = 100
_SECONDS = 150
_LEASE = 15.0
_GRAIN = 1.0


class CoarseClock(FakeClock):
    """Wakes everybody of a second at once: a hundred environments would take long else."""

    async def advance(self, seconds: float) -> None:
        await self.settle()
        for _ in range(round(seconds / _GRAIN)):
            self._now += _GRAIN
            while self._sleepers and self._sleepers[0][0] <= self._now:
                waking = heapq.heappop(self._sleepers)[2]
                if not waking.done():
                    waking.set_result(None)
            await self.settle()


class SharedLeases:
    """The leases of two members in one memory, as Redis keeps them."""

    holders: dict[EnvironmentId, tuple[str, float]]

    def __init__(self, world: World, member: str, holders: dict[EnvironmentId, tuple[str, float]]) -> None:
        self._clock, self._member, self._holders = world.clock, member, holders

    def fence(self, environment: EnvironmentId) -> int | None:
        return 1 if self._holders.get(environment, ("",))[0] == self._member else None

    def seconds_left(self, environment: EnvironmentId) -> float:
        return max(0.1, self._holders[environment][1] - self._clock.monotonic())

    async def acquire(self, environment: EnvironmentId) -> bool:
        now = self._clock.monotonic()
        holder, until = self._holders.get(environment, ("", 0.0))
        if holder not in {"", self._member} and until > now:
            return False
        self._holders[environment] = self._member, now + _LEASE
        return True

    def forget(self, environment: EnvironmentId) -> None:
        del environment

    def leads(self, environment: EnvironmentId) -> bool:
        raise AssertionError(environment)

    async def release(self, environment: EnvironmentId) -> None:
        if self.fence(environment) is not None:
            del self._holders[environment]


class AlwaysJoined:
    """A store that has answered."""

    def stand_alone(self, environment: EnvironmentId) -> None:
        raise AssertionError(environment)

    async def join(self, environment: EnvironmentId, *, leads: bool) -> None:
        del environment, leads


class Member:
    """One of two that share a store and a log."""

    def __init__(self, world: World, saas: FakeSaas, keys: list[SdkKey], leases: SharedLeases) -> None:
        self.telemetry = Telemetry(make_logger("INFO", world.out), world.clock)
        election = leader_election(leases, AlwaysJoined(), world.clock, self.telemetry)
        context = UpstreamContext(
            api=client_api(saas, self.telemetry),
            admin=admin_api(saas),
            configs=world.configs,
            targets=world.targets,
            telemetry=self.telemetry,
            schedule=Schedule(world.clock, Random(7)),
            intervals=SyncIntervals(),
        )
        self.service = Upstream(context, keys, EnvironmentDirectory(), election, world.configs.holds)

    def start(self, tasks: asyncio.TaskGroup) -> list[asyncio.Task[None]]:
        return [tasks.create_task(self.telemetry.grouped_lines.run()), tasks.create_task(self.service.run())]


@pytest.mark.parametrize(
    "answer", [UpstreamUnavailable("connection refused"), error(503)], ids=["gone", "503"]
)
async def test_an_outage_of_all_is_told_in_some_lines(answer: Reply | UpstreamUnavailable) -> None:
    """Of two members with a hundred environments for 150 seconds, take-overs and recovery included."""
    world = World(CoarseClock())
    keys = [SdkKey(f"server-key-{number:03}-of-a-hundred") for number in range(_ENVIRONMENTS)]
    for number, key in enumerate(keys):
        world.saas.environment(f"e0000000-0000-4000-8000-{number:012}", key).put_flag(flag_doc())
    holders: dict[EnvironmentId, tuple[str, float]] = {}
    members = [Member(world, world.saas, keys, SharedLeases(world, name, holders)) for name in "ab"]
    async with asyncio.TaskGroup() as tasks:
        running = [task for member in members for task in member.start(tasks)]
        await world.clock.advance(30)
        assert len(holders) == _ENVIRONMENTS
        started = len(world.log.splitlines())
        assert started < 20, world.log
        world.saas.always.update(dict.fromkeys(_routes(world.saas), answer))
        for stream in world.saas.streams:
            stream.end(UpstreamUnavailable("connection reset"))
        await world.clock.advance(_SECONDS)
        world.saas.always.clear()
        await world.clock.advance(120)
        for task in running:
            task.cancel()
    events = Counter(event for event in (line["event"] for line in world.lines()[started:]))
    assert sum(events.values()) < 50, events
    assert 1 <= events[BACK] <= len(members), "and only where it was lost"
    assert events[AWAY] >= len(members)
    assert {line["environments"] for line in world.said(AWAY)} >= {_ENVIRONMENTS}


def _routes(saas: FakeSaas) -> set[str]:
    return {request.route for request in saas.requests} | {"/client/auth", "/stream"}
