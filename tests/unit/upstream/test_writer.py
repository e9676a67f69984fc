"""Which keys count, and that writes do not overtake each other."""

import asyncio
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ff_proxy.model.environment import Domain, EnvironmentConfig, EnvironmentInfo, Item, Revision
from ff_proxy.model.keys import SdkKeyHash
from ff_proxy.store.protocol import DropItem, PutItem
from ff_proxy.upstream.writer import EnvironmentWriter, KeyRing, Ticket
from tests.support.clock import FakeClock
from tests.support.configs import flag
from tests.unit.upstream.world import ENVIRONMENT, Configs

A, B, C = SdkKeyHash("a"), SdkKeyHash("b"), SdkKeyHash("c")
INFO = EnvironmentInfo(ENVIRONMENT)


def test_listed_keys_count_at_once() -> None:
    """A new key works with the next listing."""
    ring = KeyRing([A])
    ring.listed([A, B])
    assert ring.keys == {A, B}


def test_missing_once_is_not_revoked() -> None:
    """Nor is missing twice with a listing in between that has it."""
    ring = KeyRing([A, B])
    ring.listed([A])
    assert ring.keys == {A, B}
    assert ring.unconfirmed == {B}
    ring.listed([A, B])
    ring.listed([A])
    assert ring.keys == {A, B}


def test_missing_twice_is_revoked() -> None:
    """The rule of spec/behaviour#key-checks."""
    ring = KeyRing([A, B])
    ring.listed([A])
    ring.listed([A])
    assert ring.keys == {A}
    assert ring.unconfirmed == frozenset()


def test_vouched_keys_stay() -> None:
    """SaaS accepts them, whatever it lists."""
    ring = KeyRing([A, B])
    for _ in range(3):
        ring.listed([A], accepted=[B])
    assert ring.keys == {A, B}


def test_accepted_keys_start_anew() -> None:
    """A key that SaaS accepted has to be missed twice from then on."""
    ring = KeyRing([A])
    ring.accept(B)
    ring.listed([A])
    ring.accept(B)
    ring.listed([A])
    assert ring.keys == {A, B}
    ring.listed([A])
    assert ring.keys == {A}


async def load_all(writer: EnvironmentWriter, *flags: Item) -> None:
    """Lists of both kinds arrive."""
    held = {flag.identifier: flag for flag in flags}
    await writer.put_list(INFO, Domain.FLAG, held, writer.ticket())
    await writer.put_list(INFO, Domain.SEGMENT, {}, writer.ticket())


class SlowConfigs(Configs):
    """A store whose whole writes take their time."""

    def __init__(self) -> None:
        super().__init__()
        self.go = asyncio.Event()

    async def replace(self, config: EnvironmentConfig) -> Revision:
        await self.go.wait()
        return await super().replace(config)


async def test_keys_saved_during_a_load_survive_it() -> None:
    """A load that began earlier must not write older keys over them."""
    configs = SlowConfigs()
    writer = EnvironmentWriter(configs, ENVIRONMENT, KeyRing([A]), FakeClock(), loaded=False)
    load = asyncio.create_task(load_all(writer))
    await asyncio.sleep(0)
    writer.ring.accept(B)
    save = asyncio.create_task(writer.save_keys())
    await asyncio.sleep(0)
    configs.go.set()
    await asyncio.gather(load, save)
    config = await configs.environment(ENVIRONMENT)
    assert config is not None
    assert config.keys == {A, B}


async def test_items_and_keys_of_an_environment_that_is_not_held() -> None:
    """The caller learns that everything has to be written."""
    writer = EnvironmentWriter(Configs(), ENVIRONMENT, KeyRing(), FakeClock(), loaded=False)
    assert not await writer.put_item(PutItem(flag()), writer.ticket())
    assert not await writer.save_keys()
    assert await writer.stored() is None
    assert not writer.loaded


async def test_writes_reach_the_store() -> None:
    """Load, put, drop, keys."""
    configs = Configs()
    writer = EnvironmentWriter(configs, ENVIRONMENT, KeyRing([A]), FakeClock(), loaded=False)
    await load_all(writer, flag("f"))
    assert writer.loaded
    assert await writer.put_item(PutItem(flag("g")), writer.ticket())
    assert await writer.put_item(DropItem(Domain.FLAG, "f"), writer.ticket())
    writer.ring.accept(C)
    assert await writer.save_keys()
    config = await writer.stored()
    assert config is not None
    assert (set(config.flags), set(config.keys)) == ({"g"}, {A, C})


class Source:
    """Harness, as a random history of states; each fetch sees the one of the moment in which it began."""

    def __init__(self) -> None:
        self.flags: dict[str, int] = {}
        self.version = 0

    def change(self, name: str, *, there: bool) -> None:
        self.version += 1
        if there:
            self.flags[name] = self.version
        else:
            self.flags.pop(name, None)


NAMES = st.sampled_from(["a", "b", "c"])
STEPS = st.one_of(
    st.tuples(st.just("change"), NAMES, st.booleans()),
    st.tuples(st.just("list"), NAMES, st.booleans()),
    st.tuples(st.just("item"), NAMES, st.booleans()),
    st.tuples(st.just("land"), st.integers(0, 9), st.booleans()),
    st.tuples(st.just("wait"), st.sampled_from([0.5, 2.0, 10.0]), st.booleans()),
)


class History:
    """Fetches in flight, and what the store must never go below."""

    def __init__(self) -> None:
        self.clock, self.source = FakeClock(), Source()
        self.writer = EnvironmentWriter(Configs(), ENVIRONMENT, KeyRing([A]), self.clock, loaded=False)
        self.flying: list[tuple[Ticket, str | None, dict[str, int]]] = []
        self.last: dict[str, int] = {}

    async def step(self, kind: str, what: Any, *, there: bool) -> None:
        if kind == "change":
            self.source.change(what, there=there)
        elif kind in {"list", "item"}:
            seen = dict(self.source.flags)
            self.flying.append((self.writer.ticket(), what if kind == "item" else None, seen))
        elif kind == "land" and self.flying:
            await self.land(*self.flying.pop(what % len(self.flying)))
        elif kind == "wait":
            await self.clock.advance(what)

    async def land(self, ticket: Ticket, name: str | None, seen: dict[str, int]) -> None:
        if name is None:
            items = {one: flag(one, version=version) for one, version in seen.items()}
            await self.writer.put_list(INFO, Domain.FLAG, items, ticket)
        elif name in seen:
            await self.writer.put_item(PutItem(flag(name, version=seen[name])), ticket)
        else:
            await self.writer.put_item(DropItem(Domain.FLAG, name), ticket)

    async def held(self) -> dict[str, int]:
        config = await self.writer.stored()
        assert config is not None
        return {name: item.version for name, item in config.flags.items()}


@given(st.lists(STEPS, max_size=25))
async def test_what_is_held_never_goes_back(steps: list[tuple[str, Any, bool]]) -> None:
    """Lists and items begun and answered in any order while the source changes.

    No version ever falls, and once all is quiet and read, the store is what the source is.
    """
    history = History()
    await load_all(history.writer)
    for kind, what, there in steps:
        await history.step(kind, what, there=there)
        for name, version in (await history.held()).items():
            assert version >= history.last.get(name, 0)
            history.last[name] = version
    for answer in history.flying:
        await history.land(*answer)
    for _ in range(2):
        await history.clock.advance(10)
        await history.land(history.writer.ticket(), None, dict(history.source.flags))
    assert set(await history.held()) == set(history.source.flags)
