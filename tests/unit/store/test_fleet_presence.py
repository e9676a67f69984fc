"""A member tells the others of itself for as long as it lives, whatever the store does."""

import asyncio
import io
import json
import re
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ff_proxy.errors import StoreUnavailable
from ff_proxy.model.keys import EnvironmentId, Secret
from ff_proxy.model.member import FleetMember, SeenMember, fingerprint
from ff_proxy.model.readiness import Readiness
from ff_proxy.store.fleet_presence import EVERY_SECONDS, FleetPresence
from ff_proxy.telemetry import Telemetry
from ff_proxy.telemetry.logs import make_logger
from tests.support.clock import FakeClock


class Members:
    """A list that can be away, full, or silent in the end."""

    own = "one"

    def __init__(self) -> None:
        self.said: list[FleetMember] = []
        self.away = False
        self.silent = False
        self.full = False
        self.listed = False
        self.others: list[FleetMember] = []
        self.reads = 0

    async def present(self) -> Sequence[SeenMember]:
        self.reads += 1
        return [SeenMember(one, 0.0) for one in (*self.said[-1:], *self.others)]

    async def leaders(self, environments: Iterable[EnvironmentId]) -> Mapping[EnvironmentId, str]:
        raise NotImplementedError(environments)

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
            FleetMember("one", host="host-1", version="1.2.3", signs_with=fingerprint(Secret("a"))),
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


async def test_members_with_another_secret_are_told_once() -> None:
    """By host; members of a version that does not say what it signs with are none of them."""
    world = World()
    world.members.others = [
        FleetMember("two", host="host-2", signs_with=fingerprint(Secret("a"))),
        FleetMember("three", host="host-3"),
    ]
    async with world.running():
        await world.clock.advance(20 * EVERY_SECONDS)
        assert world.out.getvalue() == ""
        world.members.others += [
            FleetMember("four", host="host-4", signs_with=fingerprint(Secret("b"))),
            FleetMember("five", host="host-5", signs_with=fingerprint(None)),
        ]
        await world.clock.advance(20 * EVERY_SECONDS)
    (line,) = map(json.loads, world.out.getvalue().splitlines())
    assert line["event"] == "members sign tokens with different secrets: set the same auth-secret on all"
    assert (line["level"], line["others"]) == ("warning", ["host-4", "host-5"])


@pytest.mark.parametrize("members", [1, 10, 50, 500])
async def test_members_together_read_their_list_about_once_a_second(members: int) -> None:
    """It is as long as the fleet is large; a small fleet reads it every ten seconds."""
    world = World()
    world.members.others = [FleetMember(f"other {number}") for number in range(members - 1)]
    async with world.running():
        await world.clock.advance(999)
    assert world.members.reads == round(1000 / max(members, 10))


@given(one=st.text(), other=st.text())
def test_a_fingerprint_is_that_of_one_secret(one: str, other: str) -> None:
    """And has nothing of it."""
    assert (fingerprint(Secret(one)) == fingerprint(Secret(other))) is (one == other)
    assert re.fullmatch("[0-9a-f]{16}", fingerprint(Secret(one)))
