"""Which keys count, and that writes do not overtake each other."""

import asyncio

from ff_proxy.model.environment import Domain, EnvironmentConfig, EnvironmentInfo, Revision
from ff_proxy.model.keys import SdkKeyHash
from ff_proxy.store.protocol import DropItem, PutItem
from ff_proxy.upstream.writer import EnvironmentWriter, KeyRing
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
    assert ring.missed == {B}
    ring.listed([A, B])
    ring.listed([A])
    assert ring.keys == {A, B}


def test_missing_twice_is_revoked() -> None:
    """The rule of PRODUCT §6.4."""
    ring = KeyRing([A, B])
    ring.listed([A])
    ring.listed([A])
    assert ring.keys == {A}
    assert ring.missed == frozenset()


def test_vouched_keys_stay() -> None:
    """SaaS accepts them, whatever it lists."""
    ring = KeyRing([A, B])
    for _ in range(3):
        ring.listed([A], vouched=[B])
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
    writer = EnvironmentWriter(configs, ENVIRONMENT, KeyRing([A]), loaded=False)
    load = asyncio.create_task(writer.load(INFO, {}, {}))
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
    writer = EnvironmentWriter(Configs(), ENVIRONMENT, KeyRing(), loaded=False)
    assert not await writer.apply(PutItem(flag()))
    assert not await writer.save_keys()
    assert await writer.held() is None
    assert not writer.loaded


async def test_writes_reach_the_store() -> None:
    """Load, put, drop, keys."""
    configs = Configs()
    writer = EnvironmentWriter(configs, ENVIRONMENT, KeyRing([A]), loaded=False)
    await writer.load(INFO, {"f": flag("f")}, {})
    assert writer.loaded
    assert await writer.apply(PutItem(flag("g")))
    assert await writer.apply(DropItem(Domain.FLAG, "f"))
    writer.ring.accept(C)
    assert await writer.save_keys()
    config = await writer.held()
    assert config is not None
    assert (set(config.flags), set(config.keys)) == ({"g"}, {A, C})
