"""The whole adapter."""

from typing import Final, Self

from ff_proxy.model.clock import Clock
from ff_proxy.model.memory import LEAST_SHARES, MemoryShares
from ff_proxy.store.redis.clients import Clients, Endpoint
from ff_proxy.store.redis.configs import RedisConfigs
from ff_proxy.store.redis.connection import Connection
from ff_proxy.store.redis.fleet_bus import FleetBus
from ff_proxy.store.redis.flush_recovery import FlushRecovery
from ff_proxy.store.redis.keys import Keys
from ff_proxy.store.redis.leases import Leases
from ff_proxy.store.redis.lost_writes import LostWrites
from ff_proxy.store.redis.members import RedisMembers
from ff_proxy.store.redis.registrations import RedisRegistrations
from ff_proxy.store.redis.secrets import RedisSecrets
from ff_proxy.store.redis.standalone import StandaloneConfigs
from ff_proxy.store.redis.targets import RedisTargets
from ff_proxy.store.redis.usage import RedisUsageQueue
from ff_proxy.telemetry import Telemetry

_TARGET_BYTES: Final = 512 * 1024 * 1024


class RedisStore:
    """A store at ``endpoint``, shared by every member with the same ``prefix``.

    Args:
        endpoint: where Redis is.
        prefix: of every key.
        epoch: identifies this run of the process; random in production.
        clock: for the times of changes.
        telemetry: reports trouble.
        member: the name under which this process acquires leases; without one nothing is fenced, and there
            must be no other writer.
        target_bytes: bytes of targets that Redis keeps per environment.
        shares: bytes that this process keeps of each kind; outstanding usage and registrations may take as
            much in Redis, per environment.
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
        target_bytes: int = _TARGET_BYTES,
        shares: MemoryShares = LEAST_SHARES,
    ) -> None:
        keys = Keys(prefix)
        self._connection = Connection(Clients(endpoint))
        self.leases = Leases(self._connection, keys, member)
        self.lost_writes = LostWrites()
        once = telemetry.once("store")
        shared = RedisConfigs(self._connection, keys, epoch, clock, once, self.leases, self.lost_writes)
        self.configs = StandaloneConfigs(shared, epoch, clock)
        self.targets = RedisTargets(
            self._connection, keys, target_bytes, shares, clock, once, telemetry.dropped
        )
        self.usage = RedisUsageQueue(self._connection, keys, shares.usage_queue, once)
        self.registrations = RedisRegistrations(
            self._connection, keys, shares.registrations, self.leases.leads
        )
        self.secrets = RedisSecrets(self._connection, keys)
        self.members = RedisMembers(self._connection, keys, self.leases)
        self.bus = FleetBus(self._connection, keys, self.configs, clock, self.lost_writes)
        self.recovery = FlushRecovery(self._connection, keys, self.secrets, self.targets, clock, telemetry)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.configs.close()
        await self.targets.close()
        await self._connection.close()
