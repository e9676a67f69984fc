"""Leading an environment: one at a time, and no longer than the lease is confirmed."""

import asyncio

from ff_proxy.errors import StoreUnavailable
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.store.redis.leases import ANSWER_SECONDS, SECONDS
from ff_proxy.telemetry import null_telemetry
from tests.support.clock import FakeClock
from tests.support.leader_election import leader_election

ENVIRONMENT = EnvironmentId("3ad4b1c8-31b7-4f5e-9a36-6b0f8f3c1f00")


class FakeLeases:
    """Leases that a test gives and takes."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.free = True
        self.down = False
        self.held = False
        self.number = 1
        self.given_back = 0
        self.patience = 0.0
        self.remaining = 1.0

    def fence(self, environment: EnvironmentId) -> int | None:
        assert environment == ENVIRONMENT
        return self.number if self.held else None

    def seconds_left(self, environment: EnvironmentId) -> float:
        assert environment == ENVIRONMENT
        return self.remaining

    async def acquire(self, environment: EnvironmentId) -> bool:
        assert environment == ENVIRONMENT
        if self.down:
            await self.clock.sleep(self.patience)
            raise StoreUnavailable("down")
        self.held = self.free
        return self.held

    def leads(self, environment: EnvironmentId) -> bool:
        return self.fence(environment) is not None

    def forget(self, environment: EnvironmentId) -> None:
        assert environment == ENVIRONMENT
        self.held = False

    async def release(self, environment: EnvironmentId) -> None:
        assert environment == ENVIRONMENT
        self.held = False
        self.given_back += 1


class FakeConfigs:
    """A store that notes whether it stands alone."""

    def __init__(self) -> None:
        self.alone = False
        self.down = False
        self.joined: list[bool] = []

    def stand_alone(self, environment: EnvironmentId) -> None:
        assert environment == ENVIRONMENT
        self.alone = True

    async def join(self, environment: EnvironmentId, *, leads: bool) -> None:
        assert environment == ENVIRONMENT
        if self.down:
            raise StoreUnavailable("down again")
        self.alone = False
        self.joined.append(leads)


class Office:
    """Somebody who leads, and counts the times."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.leases = FakeLeases(self.clock)
        self.is_unreachable = False
        self.working = 0
        self.begun = 0
        self.configs = FakeConfigs()
        self.terms = leader_election(self.leases, self.configs, self.clock, null_telemetry())
        self.task = asyncio.create_task(self.terms.lead(ENVIRONMENT, self.work, lambda: self.is_unreachable))

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


async def test_work_begins_anew_under_a_new_number() -> None:
    """The lease was lost, by a flush or in sleep: what the work knows may be old, but nobody waits for it."""
    office = Office()
    await office.clock.advance(1)
    office.leases.number = 2
    await office.clock.advance(2)
    assert (office.working, office.begun) == (1, 2)
    assert office.leases.given_back == 0
    await office.clock.advance(10)
    assert office.begun == 2
    await office.end()


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
    office.is_unreachable = True
    await office.clock.advance(1.5)
    assert (office.working, office.leases.given_back) == (0, 1)
    await office.clock.advance(2)
    assert office.working == 0
    office.is_unreachable = False
    await office.clock.advance(1.5)
    assert (office.working, office.begun) == (1, 2)
    await office.end()


async def test_work_does_not_wait_for_a_redis_that_is_away_from_the_start() -> None:
    """It goes on without a lease, and begins anew with one once Redis answers."""
    office = Office()
    office.leases.down = True
    await office.clock.advance(5)
    assert (office.working, office.begun, office.configs.alone) == (1, 1, True)
    office.leases.down = False
    await office.clock.advance(2)
    assert (office.working, office.begun, office.configs.alone) == (1, 2, False)
    assert office.configs.joined == [True]
    await office.end()
    assert office.working == 0


async def test_who_finds_another_leading_when_redis_answers_stops() -> None:
    """And leads when the lease is free."""
    office = Office()
    office.leases.down = True
    await office.clock.advance(2)
    office.leases.down, office.leases.free = False, False
    await office.clock.advance(2)
    assert (office.working, office.configs.alone, office.configs.joined) == (0, False, [False])
    office.leases.free = True
    await office.clock.advance(3)
    assert (office.working, office.begun) == (1, 2)
    await office.end()


async def test_a_redis_that_goes_while_it_is_joined_changes_nothing() -> None:
    """Work without a lease goes on until what was followed is in Redis."""
    office = Office()
    office.leases.down = True
    await office.clock.advance(2)
    office.leases.down, office.configs.down = False, True
    await office.clock.advance(3)
    assert (office.working, office.configs.alone, office.configs.joined) == (1, True, [])
    office.configs.down = False
    await office.clock.advance(2)
    assert (office.working, office.configs.alone, office.configs.joined) == (1, False, [True])
    await office.end()


async def test_who_has_led_waits_for_a_redis_that_goes_away() -> None:
    """Others may lead by now: without the lease nothing is done again."""
    office = Office()
    await office.clock.advance(1)
    assert office.working == 1
    office.leases.down = True
    await office.clock.advance(60)
    assert (office.working, office.configs.alone) == (0, False)
    await office.end()
