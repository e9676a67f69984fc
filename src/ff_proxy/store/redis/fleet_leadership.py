"""A member's part in its fleet: it leads some environments, and passes on what concerns the others."""

from collections.abc import Awaitable, Callable

from ff_proxy.model.clock import Clock
from ff_proxy.model.keys import EnvironmentId, SdkKeyHash
from ff_proxy.store.redis.leader_election import LeaderElection
from ff_proxy.store.redis.store import RedisStore
from ff_proxy.telemetry import Telemetry


class FleetLeadership:
    """What the upstream asks of a fleet, over one Redis."""

    contested = True

    def __init__(self, store: RedisStore, clock: Clock, telemetry: Telemetry) -> None:
        self._store = store
        self._terms = LeaderElection(store.leases, store.configs, clock, telemetry)

    async def lead(
        self,
        environment: EnvironmentId,
        work: Callable[[], Awaitable[None]],
        is_unreachable: Callable[[], bool],
    ) -> None:
        """Run ``work`` whenever, and only while, this member holds the environment's lease; for ever."""
        await self._terms.lead(environment, work, is_unreachable)

    async def forward_key(self, environment: EnvironmentId, key: SdkKeyHash) -> bool:
        """Have the leader take in a key that SaaS accepted here; ``True`` once the store holds it."""
        return await self._store.hints.forward_key(environment, key)

    def freed(self, environment: EnvironmentId) -> None:
        """Another member gave the environment's lease back."""
        self._terms.freed(environment)

    def leads(self, environment: EnvironmentId) -> bool:
        """Whether this member believes to hold the environment's lease."""
        return self._store.leases.leads(environment)
