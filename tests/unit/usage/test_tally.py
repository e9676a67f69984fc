"""What Harness has accepted, added up by flag and variation: within an hour, and within its bytes."""

import json
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ff_proxy.errors import UpstreamError, UpstreamRefused, UpstreamUnavailable
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.usage import MAX_COUNT, UsageCount, UsageKey
from ff_proxy.usage.forwarder import UsageForwarder
from ff_proxy.usage.tally import STEP_SECONDS, UsageTally
from tests.support.clock import FakeClock
from tests.support.usage_forwarder import ENV, OTHER, Saas, Setting

HOUR = 3600.0


def given_to(
    target: str, flag: str, variation: str, count: int = 1, environment: EnvironmentId = ENV
) -> UsageCount:
    """A count as client SDKs send them: by target."""
    said = {"featureIdentifier": flag, "target": target, "variationIdentifier": variation}
    attributes = tuple((name, json.dumps(text)) for name, text in said.items())
    return UsageCount(UsageKey(environment, "FFMETRICS", attributes), count, 1)


def said(*attributes: tuple[str, str]) -> UsageCount:
    """A count with such attributes."""
    return UsageCount(UsageKey(ENV, "FFMETRICS", attributes), 1, 1)


def tally(clock: FakeClock | None = None, budget: int = 1_000_000) -> UsageTally:
    """A tally."""
    return UsageTally(clock or FakeClock(), budget, lambda _: None)


def totals(held: UsageTally, environment: EnvironmentId = ENV) -> dict[tuple[str, str], int]:
    """What it has of an environment."""
    return {(one.flag, one.variation): one.total for one in held.of(environment)}


def test_targets_add_up_and_environments_do_not() -> None:
    """Flags and variations are all that is kept."""
    held = tally()
    held.add([given_to("ann", "a", "on", 2), given_to("bob", "a", "on", 3), given_to("ann", "a", "off")])
    held.add([given_to("ann", "a", "on", 7, OTHER)])
    assert totals(held) == {("a", "on"): 5, ("a", "off"): 1}
    assert totals(held, OTHER) == {("a", "on"): 7}
    assert held.complete


@given(st.lists(st.tuples(st.floats(0, 5000), st.integers(1, 50)), max_size=20))
async def test_the_last_hour_is_that_in_steps_of_five_minutes(posts: list[tuple[float, int]]) -> None:
    """What was sent within 55 minutes is in it, what is older than an hour is not."""
    clock = FakeClock()
    held, sent = tally(clock), []
    for pause, count in posts:
        await clock.advance(pause)
        held.add([given_to("ann", "a", "on", count)])
        sent.append((clock.monotonic(), count))
        (one,) = held.of(ENV)
        ages = [(clock.monotonic() - at, number) for at, number in sent]
        least = sum(number for age, number in ages if age <= HOUR - STEP_SECONDS)
        most = sum(number for age, number in ages if age < HOUR)
        assert least <= one.last_hour <= most
        assert one.total == sum(number for _, number in sent)


async def test_an_hour_without_usage_leaves_the_total() -> None:
    """Also when nobody looks meanwhile."""
    clock = FakeClock()
    held = tally(clock)
    held.add([given_to("ann", "a", "on", MAX_COUNT), given_to("bob", "a", "on", MAX_COUNT)])
    await clock.advance(HOUR * 30)
    (one,) = held.of(ENV)
    assert (one.last_hour, one.total) == (0, MAX_COUNT)


@pytest.mark.parametrize("size", [1, 200, 20_000])
def test_it_keeps_within_its_bytes_and_says_what_it_has_forgotten(size: int) -> None:
    """However long the names are that somebody makes up; what is used stays."""
    forgotten: list[int] = []
    held = UsageTally(FakeClock(), 50_000, forgotten.append)
    for number in range(500):
        held.add([given_to("ann", "a", "on"), given_to("ann", f"{number}" + "x" * size, "on")])
        assert held._sums.spent <= 50_000
    assert totals(held)["a", "on"] == 500
    assert not held.complete
    assert sum(forgotten) == 501 - len(held._sums)


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ((), ("", "")),
        ((("featureName", '"a"'), ("variationIdentifier", '"on"')), ("a", "on")),
        ((("featureIdentifier", "null"), ("featureName", '"a"')), ("a", "")),
        ((("featureIdentifier", '"a"'), ("featureName", '"The A"')), ("a", "")),
        ((("featureIdentifier", "7"), ("variationIdentifier", "null")), ("7", "")),
        ((("featureIdentifier", '{"x":[1]}'), ("variationIdentifier", "true")), ('{"x":[1]}', "true")),
        ((("featureIdentifier", '"\\ud800"'), ("variationIdentifier", '"\\u00e9"')), ('"\\ud800"', "é")),
        ((("featureIdentifier", '"\ud800"'),), ('"\ud800"', "")),
    ],
)
def test_odd_attributes_of_sdks_are_counted_under_what_they_say(
    attributes: tuple[tuple[str, str], ...], expected: tuple[str, str]
) -> None:
    """Nothing in them is an error."""
    held = tally()
    held.add([said(*attributes)])
    assert totals(held) == {expected: 1}


@pytest.mark.parametrize("seed", range(4))
async def test_the_sums_are_what_harness_has_accepted(seed: int) -> None:
    """With bodies that are refused, split, sent again or not answered."""
    random = Random(seed)
    setting = Setting(Saas())
    held = tally(setting.clock)

    def answer(_: EnvironmentId, body: bytes) -> UpstreamError | None:
        if random.random() < 0.3:
            return UpstreamUnavailable("away")
        return UpstreamRefused("not this one", status=400) if b'"odd"' in body else None

    setting.saas.answer = answer
    setting.forwarder = UsageForwarder(
        setting.queue, setting.saas, 60, setting.clock, random, setting.telemetry, accepted=held.add
    )
    async with setting.running():
        for number in range(600):
            flag = "odd" if number == 300 else f"flag-{number % 20}"
            await setting.queue.merge([given_to(f"t{number}", flag, "on", random.randrange(1, 9))], [])
        await setting.clock.advance(60 * 20)
        assert await setting.queue.pending() == {}
    assert {flag: count for (flag, _), count in totals(held).items()} == {
        flag: count for (_, flag), count in setting.saas.taken.items()
    }
    assert len(totals(held)) == 20
