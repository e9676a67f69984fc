"""The election of a leader over doubles of leases and store."""

from typing import Any

from ff_proxy.model.clock import Clock
from ff_proxy.model.keys import EnvironmentId, SdkKeyHash
from ff_proxy.store.redis.leader_election import LeaderElection
from ff_proxy.telemetry import Telemetry


class _NoBus:
    """Nobody sends anything."""

    async def forward_key(self, environment: EnvironmentId, key: SdkKeyHash) -> bool:
        raise AssertionError(environment, key)


def leader_election(leases: Any, configs: Any, clock: Clock, telemetry: Telemetry) -> LeaderElection:
    """With what it asks of ``Leases`` and ``StandaloneConfigs``; no key may be forwarded."""
    bus: Any = _NoBus()
    return LeaderElection(leases, configs, bus, clock, telemetry)
