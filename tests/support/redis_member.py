"""Members of a fleet on a Redis of the test, and what they hold of its one environment."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any
from uuid import uuid4

from ff_proxy.errors import StoreUnavailable
from ff_proxy.model.environment import EnvironmentConfig
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.redis import Topology
from ff_proxy.model.usage import UsageCount, UsageKey
from ff_proxy.store.redis import Endpoint, RedisStore
from ff_proxy.telemetry import null_telemetry
from tests.support.clock import FakeClock
from tests.support.configs import ENVIRONMENT
from tests.support.redis_server import RedisServer, redis_command


def endpoint(server: RedisServer, **how: Any) -> Endpoint:
    """The server's TCP endpoint."""
    return Endpoint(Topology.SINGLE, (("127.0.0.1", server.port),), **how)


def member(server: RedisServer, prefix: str, name: str = "", **sizes: Any) -> RedisStore:
    """One process of a fleet."""
    return member_at(endpoint(server), prefix, name, uuid4().hex, **sizes)


def member_at(where: Endpoint, prefix: str, name: str = "", epoch: str = "first", **sizes: Any) -> RedisStore:
    """One process of a fleet, on whatever Redis."""
    return RedisStore(where, prefix, epoch, FakeClock(), null_telemetry(), member=name, **sizes)


@asynccontextmanager
async def reached(store: RedisStore) -> AsyncIterator[RedisStore]:
    """The opened store, once Redis has answered: discovering a Cluster may take longer than a call."""
    async with store:
        async with asyncio.timeout(60):
            while True:
                with suppress(StoreUnavailable):
                    await store.configs.environments()
                    break
                await asyncio.sleep(0.05)
        yield store


async def held(store: RedisStore) -> EnvironmentConfig:
    """What the store holds of the environment."""
    found = await store.configs.environment(ENVIRONMENT)
    assert found is not None
    return found


def counted(number: int = 1, environment: EnvironmentId = ENVIRONMENT) -> UsageCount:
    """A count of one flag."""
    return UsageCount(UsageKey(environment, "FFMETRICS", (("featureIdentifier", '"a"'),)), number, 1)


def part(prefix: str, name: str) -> str:
    """A key of the environment."""
    return f"{prefix}:{{{ENVIRONMENT}}}:{name}"


def make_leases_return(server: RedisServer, prefix: str) -> None:
    """Leased batches of usage are due now."""
    leases = part(prefix, "usage:leases")
    for lease in redis_command(server.port, "ZRANGE", leases, "0", "-1").split(b"\r\n")[2::2]:
        redis_command(server.port, "ZADD", leases, "1", lease.decode())
