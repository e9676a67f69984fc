"""What a member says of its store and of those who lead its environments."""

import asyncio
from collections.abc import Mapping

from ff_proxy.errors import StoreUnavailable
from ff_proxy.model.environment import StreamState, UpstreamStatus
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.readiness import Readiness
from ff_proxy.store.fleet_health import FleetHealth
from tests.support.clock import FakeClock
from tests.support.configs import ENVIRONMENT

LOADED = Readiness(loaded=1)


class Statuses:
    """A status store that can be away."""

    def __init__(self) -> None:
        self.held: dict[EnvironmentId, UpstreamStatus] = {}
        self.away = False
        self.asked = 0

    async def set_status(self, environment: EnvironmentId, status: UpstreamStatus) -> None:
        self.held[environment] = status

    async def statuses(self) -> Mapping[EnvironmentId, UpstreamStatus]:
        self.asked += 1
        if self.away:
            raise StoreUnavailable("Redis: gone")
        return dict(self.held)


async def degraded(fleet_health: FleetHealth) -> tuple[str, ...]:
    """What is said after another look."""
    await fleet_health.poll()
    return fleet_health.merge_into(LOADED, [ENVIRONMENT]).degraded


async def test_leaders_in_trouble_and_none_at_all() -> None:
    """A stream that is down on purpose, because Harness is polled, is no trouble."""
    statuses, clock = Statuses(), FakeClock()
    fleet_health = FleetHealth(statuses, clock)
    assert fleet_health.merge_into(LOADED, [ENVIRONMENT]) == LOADED, "nothing was looked at yet"
    running = asyncio.create_task(fleet_health.run())
    await fleet_health.ready.wait()
    assert "no member has connected" in fleet_health.merge_into(LOADED, [ENVIRONMENT]).degraded[0]
    statuses.held[ENVIRONMENT] = UpstreamStatus(StreamState.DISCONNECTED, detail="polling")
    assert await degraded(fleet_health) == ()
    statuses.held[ENVIRONMENT] = UpstreamStatus(StreamState.CONNECTED, trouble="keys not refreshed: no")
    assert await degraded(fleet_health) == (f"environment {ENVIRONMENT}: keys not refreshed: no",)
    assert fleet_health.merge_into(LOADED, []) == LOADED, "what is led here speaks for itself"
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_store_that_is_away() -> None:
    """Is said, instead of what it reported last."""
    statuses = Statuses()
    fleet_health = FleetHealth(statuses, FakeClock())
    statuses.held[ENVIRONMENT] = UpstreamStatus(StreamState.DISCONNECTED, trouble="stream down")
    fleet_health.ready.set()
    statuses.away = True
    assert await degraded(fleet_health) == ("serving from memory, the store is not reachable: Redis: gone",)
    statuses.away = False
    assert await degraded(fleet_health) == (f"environment {ENVIRONMENT}: stream down",)


async def test_many_environments_are_looked_at_less_often() -> None:
    """At most a hundred a second, so that members cost Redis the same however many there are."""
    statuses, clock = Statuses(), FakeClock()
    running = asyncio.create_task(FleetHealth(statuses, clock).run())
    await clock.advance(9)
    assert statuses.asked == 5
    statuses.held = {EnvironmentId(str(number)): UpstreamStatus() for number in range(1000)}
    await clock.advance(1)
    await clock.advance(20)
    assert statuses.asked == 8
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
