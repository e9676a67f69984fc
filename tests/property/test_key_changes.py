"""Whatever happened: the environments of the keys that were configured last are followed, and no others."""

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from hypothesis import given, settings
from hypothesis import strategies as st

from ff_proxy.model.keys import EnvironmentId, SdkKey
from ff_proxy.model.readiness import Readiness
from ff_proxy.upstream.leadership import SoleLeader, Work
from tests.support.thorough import examples
from tests.unit.upstream.world import World, running

_ENVIRONMENTS: Final = tuple(EnvironmentId(name) for name in ("env-a", "env-b", "env-c"))
_OF_KEY: Final = {
    SdkKey(f"server-key-{number}-of-{name}"): name for name in _ENVIRONMENTS for number in (1, 2)
}
_KEYS: Final = tuple(_OF_KEY)


class Step(Protocol):
    """Something happens."""

    async def take(self, play: "Play") -> None:
        """Let it happen."""
        ...


@dataclass(frozen=True)
class Reload:
    """These keys are configured from now on."""

    keys: tuple[SdkKey, ...]

    async def take(self, play: "Play") -> None:
        play.configured = self.keys
        play.service.configure(self.keys)


@dataclass(frozen=True)
class Pass:
    """Time passes; without ``seconds`` only some turns of the loop."""

    seconds: float
    turns: int = 0

    async def take(self, play: "Play") -> None:
        clock = play.world.clock
        await (clock.advance(self.seconds) if self.seconds else clock.settle(self.turns))


@dataclass(frozen=True)
class Harness:
    """Harness is ``there`` or not."""

    there: bool

    async def take(self, play: "Play") -> None:
        play.world.saas.down = not self.there


@dataclass(frozen=True)
class Access:
    """Harness accepts a key or refuses it."""

    key: SdkKey
    granted: bool

    async def take(self, play: "Play") -> None:
        saas = play.world.saas
        if self.granted:
            saas.keys[self.key.reveal()] = _OF_KEY[self.key]
        else:
            play.refused.add(self.key)
            saas.keys.pop(self.key.reveal(), None)
            saas.expire_tokens()


@dataclass(frozen=True)
class Store:
    """The store is ``there`` or not."""

    there: bool

    async def take(self, play: "Play") -> None:
        play.world.configs.away = not self.there


@dataclass(frozen=True)
class Lease:
    """The environment can be led here, or somebody else leads it."""

    environment: EnvironmentId
    free: bool

    async def take(self, play: "Play") -> None:
        play.leases.decide(self.environment, free=self.free)


_reloads = st.lists(st.sampled_from(_KEYS), min_size=1, max_size=4, unique=True).map(
    lambda keys: Reload(tuple(keys))
)
_steps: Final[st.SearchStrategy[Step]] = st.one_of(
    _reloads,
    st.builds(Pass, st.sampled_from([0.3, 3.0, 70.0])),
    st.builds(Pass, st.just(0.0), st.integers(0, 12)),
    st.builds(Harness, st.booleans()),
    st.builds(Access, st.sampled_from(_KEYS), st.booleans()),
    st.builds(Store, st.booleans()),
    st.builds(Lease, st.sampled_from(_ENVIRONMENTS), st.booleans()),
)
_CALM: Final[Sequence[Step]] = (
    Harness(there=True),
    Store(there=True),
    *(Access(key, granted=True) for key in _KEYS),
    *(Lease(environment, free=True) for environment in _ENVIRONMENTS),
    # Everything that failed is tried again within this time.
    Pass(200.0),
)


class Leases(SoleLeader):
    """Who leads which environment is a test's decision."""

    contested = True

    def __init__(self) -> None:
        self.led: set[EnvironmentId] = set()
        self._free = dict.fromkeys(_ENVIRONMENTS, True)
        self._changed = asyncio.Event()

    def decide(self, environment: EnvironmentId, *, free: bool) -> None:
        """Let this process lead ``environment``, or somebody else."""
        self._free[environment] = free
        self._changed.set()
        self._changed = asyncio.Event()

    async def lead(self, environment: EnvironmentId, work: Work, is_unreachable: Callable[[], bool]) -> None:
        while True:
            await self._until(environment, free=True)
            assert environment not in self.led, "two keys lead one environment"
            self.led.add(environment)
            working = asyncio.ensure_future(super().lead(environment, work, is_unreachable))
            lost = asyncio.ensure_future(self._until(environment, free=False))
            try:
                await asyncio.wait([working, lost], return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (working, lost):
                    task.cancel()
                # A cancellation of this task meanwhile must not be taken for theirs.
                try:
                    await asyncio.gather(working, lost, return_exceptions=True)
                finally:
                    self.led.remove(environment)

    async def _until(self, environment: EnvironmentId, *, free: bool) -> None:
        while self._free[environment] is not free:
            await self._changed.wait()


class Play:
    """A service for which things happen; ``contested``: it is one of several that could lead."""

    def __init__(self, keys: Collection[SdkKey], *, contested: bool) -> None:
        self.world = World()
        for key, name in _OF_KEY.items():
            self.world.saas.environment(name, key)
        self.leases = Leases()
        self.service = self.world.service(*keys, leadership=self.leases if contested else None)
        self.configured = keys
        self.refused: set[SdkKey] = set()

    async def take(self, steps: Iterable[Step]) -> None:
        """Take these steps; nothing that a configured key is of may be removed, unless Harness refused it."""
        for step in steps:
            self.world.configs.removed.clear()
            await step.take(self)
            good = {_OF_KEY[key] for key in self.configured if key not in self.refused}
            assert good.isdisjoint(self.world.configs.removed)

    async def check(self, *, contested: bool) -> None:
        """The service follows what is configured, and nothing else, in every respect."""
        expected = {_OF_KEY[key] for key in self.configured}
        world, service = self.world, self.service
        assert service.environments() == expected
        assert service.readiness() == Readiness(loaded=len(expected))
        streams = [SdkKey(one.request.headers["API-Key"]) for one in world.saas.streams if not one.closed]
        assert sorted(_OF_KEY[key] for key in streams) == sorted(expected)
        assert set(streams) <= set(self.configured)
        stored = await world.configs.environments()
        assert stored.keys() >= expected if contested else stored.keys() == expected
        assert self.leases.led == (expected if contested else set())
        figures = world.telemetry.exposition().decode().splitlines()
        assert {line for line in figures if line.startswith("ff_proxy_leading{")} == {
            f'ff_proxy_leading{{envID="{name}"}} 1.0' for name in expected
        }
        # Whatever is raised meanwhile is counted and tried again, so that nothing else would tell of it.
        failures = [line for line in figures if line.startswith("ff_proxy_service_failures_total{")]
        assert [line for line in failures if float(line.rpartition(" ")[2]) > 0] == []


async def _play(start: Reload, steps: Sequence[Step], last: Reload, *, contested: bool) -> None:
    play = Play(start.keys, contested=contested)
    async with running(play.service.run()):
        await play.take([*steps, last, *_CALM])
        await play.check(contested=contested)
    assert asyncio.all_tasks() == {asyncio.current_task()}


@settings(max_examples=examples(0.3))
@given(start=_reloads, steps=st.lists(_steps, max_size=12), last=_reloads, contested=st.booleans())
def test_what_was_configured_last_is_followed(
    start: Reload, steps: list[Step], last: Reload, *, contested: bool
) -> None:
    """Keys come, go and come back while they wait, are refused, lead, or another one of theirs does."""
    asyncio.run(_play(start, steps, last, contested=contested))
