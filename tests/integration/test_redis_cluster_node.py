"""One node of a Cluster is away: that concerns the environments that it holds, and no others."""

import asyncio
import gc
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, suppress
from itertools import count
from pathlib import Path
from typing import Final

import pytest
from redis.crc import key_slot

from ff_proxy.errors import StoreUnavailable
from ff_proxy.model.environment import StreamState, UpstreamStatus
from ff_proxy.model.keys import EnvironmentId, Secret
from ff_proxy.model.readiness import Readiness
from ff_proxy.model.redis import Topology
from ff_proxy.model.target import Target
from ff_proxy.model.usage import UsageCount, UsageKey
from ff_proxy.store.protocol import PutItem, Registration
from ff_proxy.store.redis import Endpoint, RedisStore
from ff_proxy.telemetry import null_telemetry
from tests.support.clock import FakeClock
from tests.support.configs import config, flag
from tests.support.redis_member import reached
from tests.support.redis_server import redis_cluster

NODES: Final = 3
# For everything together, although one node says nothing: where that is asked as well, it is given a second.
SECONDS: Final = 30.0


# Whoever is cut off while a node hangs may leave redis-py with a connection that no pool knows any more.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """What is left behind is noticed here, and not in a test that happens to come later."""
    yield
    gc.collect()


def on_node(node: int) -> EnvironmentId:
    """An environment whose keys that node holds."""
    share = 16384 // NODES
    return next(
        EnvironmentId(name)
        for name in (f"e{number}" for number in count())
        if min(key_slot(name.encode()) // share, NODES - 1) == node
    )


def counted(environment: EnvironmentId) -> UsageCount:
    """One count."""
    return UsageCount(UsageKey(environment, "FFMETRICS", (("featureIdentifier", '"a"'),)), 1, 1)


@pytest.mark.parametrize("silent", [True, False], ids=["silent", "dead"])
@pytest.mark.parametrize("lost", range(NODES))
async def test_a_node_that_is_away_concerns_nobody_else(
    tmp_path: Path, prefix: str, lost: int, *, silent: bool
) -> None:
    """Nor those who start meanwhile."""
    environments = [on_node(node) for node in range(NODES)]
    gone, others = environments[lost], [name for name in environments if name != environments[lost]]
    with redis_cluster(tmp_path) as nodes:
        where = Endpoint(Topology.CLUSTER, tuple(("127.0.0.1", node.port) for node in nodes))

        def member(name: str) -> RedisStore:
            return RedisStore(where, prefix, name, FakeClock(), null_telemetry(), member=name)

        async with AsyncExitStack() as stack:
            old = await stack.enter_async_context(reached(member("old")))
            secret = await old.secrets.auth_secret(Secret("first"))
            for name in environments:
                assert await old.leases.acquire(name)
                await old.configs.replace(config(flag("a"), environment=name))
                await old.configs.set_status(name, UpstreamStatus(StreamState.CONNECTED, 5))
            await old.recovery.poll()
            if silent:
                nodes[lost].pause(on=True)
                stack.callback(nodes[lost].pause, on=False)
            else:
                nodes[lost].stop()
            new = await stack.enter_async_context(member("new"))
            hopeless = [asyncio.create_task(_in_vain(store, gone)) for store in (old, new) for _ in range(50)]
            began = time.monotonic()
            assert set(await old.configs.environments()) == set(environments)
            assert set(await new.configs.environments()) == set(others)
            for name in others:
                assert await old.leases.acquire(name)
                await old.configs.apply(name, PutItem(flag("b")))
                await old.targets.put(name, Target("t", "T"))
                await old.usage.merge([counted(name)], [])
                assert await old.registrations.add(Registration(name, Target("t", "T")))
                found = await new.configs.environment(name)
                assert found is not None
                assert sorted(found.flags) == ["a", "b"]
                assert await new.targets.get(name, "t") == Target("t", "T")
            assert await new.secrets.auth_secret(Secret("second")) == secret
            assert set(await new.usage.pending()) == set(others)
            assert set(others) <= set(await old.registrations.waiting())
            for name in others:
                assert len(await old.registrations.take(name, 10)) == 1
            statuses = await new.configs.statuses()
            away = {name for name, status in statuses.items() if "from memory" in status.trouble}
            assert away == {gone}
            for store in (old, new):
                await store.recovery.poll_and_report()
                assert store.recovery.merge_into(Readiness(loaded=1)).degraded == ()
            took = time.monotonic() - began
            for task in hopeless:
                task.cancel()
            await asyncio.gather(*hopeless, return_exceptions=True)
            assert took < SECONDS, took


async def _in_vain(store: RedisStore, environment: EnvironmentId) -> None:
    while True:
        with suppress(StoreUnavailable):
            await store.configs.environment(environment)
        with suppress(StoreUnavailable):
            await store.leases.acquire(environment)
        await asyncio.sleep(0.01)
