"""A member's role in its fleet: it leads some environments, and forwards keys of the others."""

from collections.abc import Awaitable, Callable

from ff_proxy.model.clock import Clock
from ff_proxy.model.keys import EnvironmentId, SdkKeyHash
from ff_proxy.store.redis.leader_election import LeaderElection
from ff_proxy.store.redis.store import RedisStore
from ff_proxy.telemetry import Telemetry


class FleetLeadership:
    """``Leadership`` over one Redis."""

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
        """Run ``work`` for ever, but only while this member holds the environment's lease."""
        await self._terms.lead(environment, work, is_unreachable)

    async def forward_key(self, environment: EnvironmentId, key: SdkKeyHash) -> bool:
        """Forward a key that Harness accepted to the leader; ``True`` once the store has it."""
        return await self._store.bus.forward_key(environment, key)

    async def leave(self, environment: EnvironmentId) -> None:
        """Others may lead the environment: only what this member keeps of it without Redis is forgotten."""
        self._store.configs.leave(environment)

    def freed(self, environment: EnvironmentId) -> None:
        """Another member released the environment's lease."""
        self._terms.freed(environment)

    def leads(self, environment: EnvironmentId) -> bool:
        """Whether this member believes it holds the environment's lease."""
        return self._store.leases.leads(environment)
