"""Leading an environment: one at a time, and no longer than the lease is confirmed."""

import asyncio

from ff_proxy.errors import StoreUnavailable
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.store.redis.leader_election import LeaderElection
from ff_proxy.store.redis.leases import ANSWER_SECONDS, SECONDS
from ff_proxy.telemetry import null_telemetry
from tests.support.clock import FakeClock

ENVIRONMENT = EnvironmentId("3ad4b1c8-31b7-4f5e-9a36-6b0f8f3c1f00")


class FakeLeases:
    """Leases that a test gives and takes."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.free = True
        self.down = False
        self.held = False
        self.given_back = 0
        self.patience = 0.0
        self.remaining = 1.0

    def fence(self, environment: EnvironmentId) -> int | None:
        assert environment == ENVIRONMENT
        return 1 if self.held else None

    def left(self, environment: EnvironmentId) -> float:
        assert environment == ENVIRONMENT
        return self.remaining

    async def take(self, environment: EnvironmentId) -> bool:
        assert environment == ENVIRONMENT
        if self.down:
            await self.clock.sleep(self.patience)
            raise StoreUnavailable("down")
        self.held = self.free
        return self.held

    def forget(self, environment: EnvironmentId) -> None:
        assert environment == ENVIRONMENT
        self.held = False

    async def give_back(self, environments: list[EnvironmentId]) -> None:
        assert environments == [ENVIRONMENT]
        self.held = False
        self.given_back += 1


class Office:
    """Somebody who leads, and counts the times."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.leases = FakeLeases(self.clock)
        self.hopeless = False
        self.working = 0
        self.begun = 0
        self.terms = LeaderElection(self.leases, self.clock, null_telemetry())  # type: ignore[arg-type]  # a double
        self.task = asyncio.create_task(self.terms.lead(ENVIRONMENT, self.work, lambda: self.hopeless))

    async def work(self) -> None:
        self.begun += 1
        self.working += 1
        try:
            await asyncio.Event().wait()
        finally:
            self.working -= 1

    async def end(self) -> None:
        """Shut down."""
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


async def test_work_begins_with_the_lease_and_ends_with_it() -> None:
    """And begins anew when the lease comes back."""
    office = Office()
    office.leases.free = False
    await office.clock.advance(10)
    assert office.begun == 0
    office.leases.free = True
    await office.clock.advance(1.5)
    assert office.working == 1
    office.leases.free = False
    await office.clock.advance(2.5)
    assert office.working == 0
    office.leases.free = True
    await office.clock.advance(2)
    assert (office.working, office.begun) == (1, 2)
    await office.end()
    assert office.working == 0
    assert office.leases.given_back == 1


async def test_a_lease_is_taken_when_it_runs_out_or_is_given_back() -> None:
    """Redis is not asked in between, however many wait."""
    office = Office()
    office.leases.free = False
    office.leases.remaining = 5.0
    await office.clock.advance(1)
    office.leases.free = True
    await office.clock.advance(3.9)
    assert office.working == 0
    await office.clock.advance(0.2)
    assert office.working == 1
    office.leases.free = False
    await office.clock.advance(3)
    assert office.working == 0
    office.leases.free = True
    office.terms.freed(EnvironmentId("another"))
    await office.clock.settle()
    assert office.working == 0
    office.terms.freed(ENVIRONMENT)
    await office.clock.settle()
    assert office.working == 1
    await office.end()


async def test_a_short_silence_of_the_store_does_not_end_a_term() -> None:
    """A longer one does: somebody else may hold the lease by then."""
    office = Office()
    await office.clock.advance(1)
    office.leases.down = True
    await office.clock.advance(2.5)
    office.leases.down = False
    await office.clock.advance(4)
    assert (office.working, office.begun) == (1, 1)
    office.leases.down = True
    await office.clock.advance(8)
    assert office.working == 0
    assert not office.leases.held
    office.leases.down = False
    await office.clock.advance(2)
    assert (office.working, office.begun) == (1, 2)
    await office.end()


async def test_a_term_ends_before_its_lease() -> None:
    """However slowly the store says nothing: another member may begin once the lease is over."""
    office = Office()
    await office.clock.advance(1)
    assert office.working == 1
    office.leases.down = True
    office.leases.patience = ANSWER_SECONDS
    await office.clock.advance(SECONDS - 1.1)
    assert office.working == 0
    await office.end()


async def test_hopeless_work_is_left_to_others() -> None:
    """They are given the time to take it; if nobody does, it goes on here."""
    office = Office()
    await office.clock.advance(1)
    office.hopeless = True
    await office.clock.advance(1.5)
    assert (office.working, office.leases.given_back) == (0, 1)
    await office.clock.advance(2)
    assert office.working == 0
    office.hopeless = False
    await office.clock.advance(1.5)
    assert (office.working, office.begun) == (1, 2)
    await office.end()
