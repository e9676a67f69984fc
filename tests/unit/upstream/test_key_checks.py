"""Key checks: one question per key, refusals remembered, SaaS never stormed."""

import asyncio

import pytest

from ff_proxy.model.keys import EnvironmentId, KeyVerdict, SdkKey, SdkKeyHash
from ff_proxy.upstream.key_checks import KeyChecker
from ff_proxy.upstream.transport import Reply
from tests.support.saas import ENV, HTML, JSON, KEY, error
from tests.unit.upstream.world import World

ROUTE = "/client/auth"


class Accepting:
    """Takes keys in, or says what it is told to."""

    def __init__(self) -> None:
        self.verdict = KeyVerdict.ACCEPTED
        self.keys: list[tuple[EnvironmentId, SdkKeyHash]] = []

    async def accept(self, environment: EnvironmentId, key: SdkKeyHash) -> KeyVerdict:
        self.keys.append((environment, key))
        return self.verdict


@pytest.fixture
def accepting() -> Accepting:
    """An environment that takes every key."""
    return Accepting()


@pytest.fixture
def checker(world: World, accepting: Accepting) -> KeyChecker:
    """Five at once, then one per second."""
    return KeyChecker(
        world.api, accepting.accept, clock=world.clock, telemetry=world.telemetry, burst=5, per_second=1
    )


async def test_accepted_key_is_taken_in(checker: KeyChecker, accepting: Accepting) -> None:
    """Before the answer is given."""
    assert await checker.check(KEY) is KeyVerdict.ACCEPTED
    assert accepting.keys == [(ENV, KEY.hash)]


async def test_refused_key_is_remembered(world: World, checker: KeyChecker) -> None:
    """For two minutes; then it is asked about again."""
    bad = SdkKey("bad")
    for _ in range(20):
        assert await checker.check(bad) is KeyVerdict.REFUSED
    assert world.saas.count(ROUTE) == 1
    await world.clock.advance(121)
    world.saas.environment(ENV, bad)
    assert await checker.check(bad) is KeyVerdict.ACCEPTED


@pytest.mark.parametrize("answer", [error(500), error(429), error(400), HTML])
async def test_no_verdict(world: World, checker: KeyChecker, answer: object) -> None:
    """It is not remembered: the next one asks again."""
    world.saas.next[ROUTE] = [answer]  # type: ignore[list-item]  # the parameter's type is the test's
    assert await checker.check(KEY) is KeyVerdict.UNAVAILABLE
    assert await checker.check(KEY) is KeyVerdict.ACCEPTED


async def test_what_harness_asks_to_wait_is_waited(world: World, checker: KeyChecker) -> None:
    """For every key; what is known of one is still said."""
    bad = SdkKey("bad")
    assert await checker.check(bad) is KeyVerdict.REFUSED
    world.saas.next[ROUTE] = [Reply(429, JSON | {"retry-after": "20"}, b"{}")]
    for _ in range(3):
        assert await checker.check(KEY) is KeyVerdict.UNAVAILABLE
        assert await checker.check(SdkKey("another")) is KeyVerdict.UNAVAILABLE
        await world.clock.advance(6)
    assert world.saas.count(ROUTE) == 2
    assert await checker.check(bad) is KeyVerdict.REFUSED
    await world.clock.advance(3)
    assert await checker.check(KEY) is KeyVerdict.ACCEPTED


async def test_concurrent_checks_share_one_request(world: World, checker: KeyChecker) -> None:
    """Later callers wait for the running check."""
    world.saas.gates[ROUTE] = asyncio.Event()
    asking = [asyncio.create_task(checker.check(KEY)) for _ in range(50)]
    await world.clock.settle()
    world.saas.gates[ROUTE].set()
    assert set(await asyncio.gather(*asking)) == {KeyVerdict.ACCEPTED}
    assert world.saas.count(ROUTE) == 1


async def test_cancelled_caller(world: World, checker: KeyChecker) -> None:
    """If the first caller is cancelled, the others get no verdict, but an answer."""
    world.saas.gates[ROUTE] = asyncio.Event()
    first, second, third = (asyncio.create_task(checker.check(KEY)) for _ in range(3))
    await world.clock.settle()
    second.cancel()
    await world.clock.settle()
    first.cancel()
    assert await third is KeyVerdict.UNAVAILABLE
    world.saas.gates[ROUTE].set()
    assert await checker.check(KEY) is KeyVerdict.ACCEPTED


async def test_storm_of_bad_keys(world: World, checker: KeyChecker) -> None:
    """After the burst only one per second reaches Harness; the others are told to retry."""
    verdicts = [await checker.check(SdkKey(f"bad-{number}")) for number in range(1000)]
    assert world.saas.count(ROUTE) == 5
    assert verdicts[:5] == [KeyVerdict.REFUSED] * 5
    assert set(verdicts[5:]) == {KeyVerdict.UNAVAILABLE}
    await world.clock.advance(3)
    for number in range(1000):
        await checker.check(SdkKey(f"worse-{number}"))
    assert world.saas.count(ROUTE) == 8
    assert world.log.count("too many unknown keys") == 1


@pytest.mark.parametrize("text", ["", "x" * 2000, "\ud800"])
async def test_invalid_keys_are_not_checked(world: World, checker: KeyChecker, text: str) -> None:
    """They cost Harness nothing."""
    assert await checker.check(SdkKey(text)) is KeyVerdict.REFUSED
    assert world.saas.count(ROUTE) == 0


async def test_environment_that_is_not_configured(
    world: World, checker: KeyChecker, accepting: Accepting
) -> None:
    """Refused, with one line that says what to do, and no key in it."""
    accepting.verdict = KeyVerdict.REFUSED
    assert await checker.check(KEY) is KeyVerdict.REFUSED
    assert await checker.check(KEY) is KeyVerdict.REFUSED
    assert world.saas.count(ROUTE) == 1
    assert world.log.count("not configured here") == 1
    assert KEY.reveal() not in world.log


async def test_key_that_cannot_be_stored_now(checker: KeyChecker, accepting: Accepting) -> None:
    """The bearer comes again."""
    accepting.verdict = KeyVerdict.UNAVAILABLE
    assert await checker.check(KEY) is KeyVerdict.UNAVAILABLE
    accepting.verdict = KeyVerdict.ACCEPTED
    assert await checker.check(KEY) is KeyVerdict.ACCEPTED


async def test_memory_of_refusals_is_bounded(world: World, accepting: Accepting) -> None:
    """The oldest are forgotten first."""
    checker = KeyChecker(
        world.api, accepting.accept, clock=world.clock, telemetry=world.telemetry, burst=20_000
    )
    for number in range(10_050):
        await checker.check(SdkKey(f"bad-{number}"))
    asked = world.saas.count(ROUTE)
    await checker.check(SdkKey("bad-10049"))
    assert world.saas.count(ROUTE) == asked
    await checker.check(SdkKey("bad-0"))
    assert world.saas.count(ROUTE) == asked + 1
