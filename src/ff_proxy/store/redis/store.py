"""The whole adapter."""

from collections.abc import Callable
from types import TracebackType
from typing import Self

from ff_proxy.model.clock import Clock
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.store.redis.clients import Clients, Endpoint
from ff_proxy.store.redis.configs import RedisConfigs
from ff_proxy.store.redis.connection import Connection
from ff_proxy.store.redis.fleet_bus import FleetBus
from ff_proxy.store.redis.flush_recovery import FlushRecovery
from ff_proxy.store.redis.keys import Keys
from ff_proxy.store.redis.leases import Leases
from ff_proxy.store.redis.registrations import RedisRegistrations
from ff_proxy.store.redis.secrets import RedisSecrets
from ff_proxy.store.redis.standalone import StandaloneConfigs
from ff_proxy.store.redis.targets import RedisTargets
from ff_proxy.store.redis.usage import RedisUsageQueue
from ff_proxy.telemetry import Telemetry


def _unfenced(_: EnvironmentId) -> int | None:
    return 0


class RedisStore:
    """A store at ``endpoint``, shared by every member with the same ``prefix``.

    Args:
        endpoint: where Redis is.
        prefix: begins every key.
        epoch: names this life of the process; a random text in production.
        clock: stamps changes.
        telemetry: hears of an emptied Redis.
        member: the name under which this process takes leases; without one nothing is fenced, and there
            must be no other writer.
        target_capacity: how many targets are kept per environment.
        target_cache: how many decoded ones this process keeps.
        usage_capacity: how many usage entries may be outstanding per environment.
        registration_capacity: how many target registrations may wait per environment.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        prefix: str,
        epoch: str,
        clock: Clock,
        telemetry: Telemetry,
        *,
        member: str = "",
        target_capacity: int = 1_000_000,
        target_cache: int = 20_000,
        usage_capacity: int = 100_000,
        registration_capacity: int = 10_000,
    ) -> None:
        keys = Keys(prefix)
        self._connection = Connection(Clients(endpoint))
        self.leases = Leases(self._connection, keys, member)
        fence: Callable[[EnvironmentId], int | None] = self.leases.fence if member else _unfenced
        once = telemetry.once("store")
        shared = RedisConfigs(self._connection, keys, epoch, clock, once, fence)
        self.configs = StandaloneConfigs(shared, epoch, clock)
        self.targets = RedisTargets(self._connection, keys, target_capacity, target_cache, clock, once)
        self.usage = RedisUsageQueue(self._connection, keys, usage_capacity, once)
        self.registrations = RedisRegistrations(
            self._connection, keys, registration_capacity, lambda environment: fence(environment) is not None
        )
        self.secrets = RedisSecrets(self._connection, keys)
        self.hints = FleetBus(self._connection, keys, self.configs, clock)
        self.flush_recovery = FlushRecovery(
            self._connection, keys, self.secrets, self.targets, clock, telemetry
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.configs.close()
        await self.targets.close()
        await self._connection.close()
