"""A member tells the others of itself for as long as it lives, whatever the store does."""

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ff_proxy.errors import StoreUnavailable
from ff_proxy.model.member import FleetMember
from ff_proxy.model.readiness import Readiness
from ff_proxy.store.fleet_presence import EVERY_SECONDS, FleetPresence
from ff_proxy.telemetry import Telemetry
from ff_proxy.telemetry.logs import make_logger
from tests.support.clock import FakeClock


class Members:
    """A list that can be away, full, or silent in the end."""

    def __init__(self) -> None:
        self.said: list[FleetMember] = []
        self.away = False
        self.silent = False
        self.full = False
        self.listed = False

    async def put(self, member: FleetMember) -> bool:
        if self.away:
            raise StoreUnavailable("gone")
        self.said.append(member)
        self.listed = not self.full
        return self.listed

    async def take_out(self) -> None:
        if self.silent:
            await asyncio.get_running_loop().create_future()
        self.listed = False


class World:
    """A member that lists itself."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.out = io.StringIO()
        self.members = Members()
        self.readiness = Readiness()
        self.presence = FleetPresence(
            self.members,
            FleetMember("one", host="host-1", version="1.2.3"),
            lambda: self.readiness,
            self.clock,
            Telemetry(make_logger("INFO", self.out), self.clock),
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """With the service running; it has ended afterwards."""
        task = asyncio.create_task(self.presence.run())
        await self.clock.settle()
        yield
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    def states(self) -> list[str]:
        """How it said that it is, each time."""
        return [one.state for one in self.members.said]


async def test_it_says_again_and_again_how_it_is_until_it_ends() -> None:
    """Of what does not change it says always the same."""
    world = World()
    async with world.running():
        world.readiness = Readiness(loaded=1)
        await world.clock.advance(EVERY_SECONDS)
        world.readiness = Readiness(loaded=1, degraded=("the disk is full",))
        await world.clock.advance(2 * EVERY_SECONDS)
        assert world.states() == ["starting", "ready", "degraded", "degraded"]
        assert {(one.id, one.host, one.version) for one in world.members.said} == {("one", "host-1", "1.2.3")}
        assert world.members.listed
    assert not world.members.listed


async def test_that_it_stops_is_said_at_once_and_holds_up_nobody() -> None:
    """Others see it while its streams end one by one."""
    world = World()
    async with world.running():
        await world.presence.leave(0.0)
        assert world.states() == ["starting"]
        await world.clock.settle()
        assert world.states() == ["starting", "stopping"]
        await world.clock.advance(EVERY_SECONDS)
        assert world.states() == ["starting", "stopping", "stopping"]


async def test_a_store_that_is_away_is_said_once_and_costs_only_the_entry() -> None:
    """It is listed as soon as the store is back."""
    world = World()
    world.members.away = True
    async with world.running():
        await world.clock.advance(10 * EVERY_SECONDS)
        assert world.presence.ready.is_set()
        assert world.out.getvalue().count("is not listed") == 1
        world.members.away = False
        await world.clock.advance(EVERY_SECONDS)
        assert world.members.listed
        world.members.away = world.members.silent = True
    assert world.out.getvalue().count("\n") == 1


async def test_a_full_list_is_said_once() -> None:
    """The member goes on without."""
    world = World()
    world.members.full = True
    async with world.running():
        await world.clock.advance(3 * EVERY_SECONDS)
    assert world.states() == ["starting"] * 4
    assert world.out.getvalue().count("the list of members is full") == 1
