"""One cause, one line: what many share is told with their number, and its end once nobody has it any more."""

import asyncio
import json
from io import StringIO
from typing import Self

from hypothesis import given, settings
from hypothesis import strategies as st

from ff_proxy.errors import StoreUnavailable, UpstreamRefused, UpstreamUnavailable
from ff_proxy.telemetry import Telemetry
from ff_proxy.telemetry.logs import make_logger
from tests.support.clock import FakeClock

AWAY = "Harness cannot be used"
BACK = "Harness can be used again"
STORE_AWAY = "the store cannot be used"
STORE_BACK = "the store can be used again"


class Told:
    """Telemetry on a clock of our own, and the lines that it wrote."""

    def __init__(self, level: str = "INFO") -> None:
        self.clock = FakeClock()
        self.out = StringIO()
        self.telemetry = Telemetry(make_logger(level, self.out), self.clock)

    def lines(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.out.getvalue().splitlines()]

    def events(self) -> list[object]:
        return [line["event"] for line in self.lines()]

    async def __aenter__(self) -> Self:
        self.task = asyncio.create_task(self.telemetry.grouped_lines.run())
        await self.clock.settle()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.task.cancel()
        await asyncio.wait([self.task])


def lost(environment: str, why: str = "connection refused") -> UpstreamUnavailable:
    """What a request of an environment fails with."""
    error = UpstreamUnavailable(f"GET https://harness.test/client/env/{environment}/flags: {why}")
    error.shared_cause = f"https://harness.test: {why}"
    return error


async def test_many_with_one_cause_are_one_line() -> None:
    """With their number, the first names and what is affected; and one line when it is over."""
    async with Told() as told:
        for number in range(100):
            for doing in ("flags", "stream"):
                told.telemetry.trouble(lost(f"e{number:03}"), doing, f"e{number:03}")
        await told.clock.advance(5)
        (line,) = told.lines()
        assert (line["event"], line["level"], line["environments"]) == (AWAY, "warning", 100)
        assert line["cause"] == "https://harness.test: connection refused"
        assert line["environments_such_as"] == ["e000", "e001", "e002"]
        assert line["affected"] == ["flags", "stream"]
        await told.clock.advance(60)
        for number in range(100):
            for doing in ("flags", "stream"):
                told.telemetry.recovered(doing, f"e{number:03}")
        await told.clock.advance(5)
        (_, end) = told.lines()
        assert (end["event"], end["level"], end["environments"], end["seconds"]) == (BACK, "info", 100, 65.0)


async def test_one_is_named() -> None:
    """By itself; another cause is another line."""
    async with Told() as told:
        told.telemetry.trouble(lost("e1"), "flags", "e1")
        told.telemetry.trouble(lost("e2", "answered 503"), "flags", "e2")
        await told.clock.advance(5)
        assert [(line["environment"], line["cause"]) for line in told.lines()] == [
            ("e1", "https://harness.test: connection refused"),
            ("e2", "https://harness.test: answered 503"),
        ]


async def test_what_is_over_at_once_is_one_line() -> None:
    """A stream that Harness ends and that is back in a moment."""
    async with Told() as told:
        told.telemetry.trouble(lost("e1", "Harness ended the stream"), "stream", "e1")
        told.telemetry.recovered("stream", "e1")
        await told.clock.advance(5)
        (line,) = told.lines()
        assert (line["event"], line["level"]) == (BACK, "info")
        assert "Harness ended the stream" in str(line["cause"])


async def test_another_members_environments_are_not_over() -> None:
    """Whoever gives them away does not know how they are."""
    async with Told() as told:
        told.telemetry.trouble(lost("e1"), "flags", "e1")
        told.telemetry.trouble(lost("e1"), "stream", "e1")
        await told.clock.advance(5)
        told.telemetry.harness.withdraw("e1")
        await told.clock.advance(1000)
        assert told.events() == [AWAY]


async def test_trouble_that_flaps_is_told_ever_less_often() -> None:
    """In ten minutes of a stream that breaks every few seconds."""
    async with Told() as told:
        for _ in range(100):
            told.telemetry.trouble(lost("e1"), "stream", "e1")
            await told.clock.advance(3)
            told.telemetry.recovered("stream", "e1")
            await told.clock.advance(3)
        assert len(told.lines()) <= 2 * (10 + 4)


async def test_who_must_act_gets_an_error() -> None:
    """A refusal by Harness is mended by people only."""
    async with Told() as told:
        told.telemetry.harness.failed(
            UpstreamRefused("no", status=403), "authentication", key="abcd***", advice="look at api-keys"
        )
        await told.clock.advance(5)
        (line,) = told.lines()
        assert (line["level"], line["key"], line["cause"]) == ("error", "abcd***", "no: look at api-keys")


async def test_trouble_of_the_store_is_not_harness() -> None:
    """Whoever works with both reports in one place."""
    async with Told() as told:
        told.telemetry.trouble(StoreUnavailable("disk full"), "keys", "e1")
        await told.clock.advance(5)
        (line,) = told.lines()
        assert (line["event"], line["subject"]) == ("the store cannot be used", "keys")
        told.telemetry.recovered("keys", "e1")
        await told.clock.advance(5)
        assert not {AWAY, BACK} & set(told.events())


@settings(max_examples=50)
@given(st.lists(st.integers(2, 290), min_size=1, max_size=5), st.sets(st.sampled_from("abc"), min_size=1))
def test_every_outage_of_the_store_is_told_with_its_end(pauses: list[int], environments: set[str]) -> None:
    """The second one as well, however soon after the first; the end once nobody is affected any more."""
    asyncio.run(_play_store(pauses, sorted(environments)))


async def _play_store(pauses: list[int], environments: list[str]) -> None:
    async with Told() as told:
        for number, pause in enumerate(pauses, start=1):
            for environment in environments:
                told.telemetry.trouble(StoreUnavailable(f"no {environment}"), "keys", environment)
            await told.clock.advance(61)
            assert told.events()[-1] == STORE_AWAY
            for environment in environments:
                assert told.events().count(STORE_BACK) == number - 1
                told.telemetry.recovered("keys", environment)
                told.telemetry.recovered("flags", environment)
                await told.clock.advance(61)
            assert told.events()[-1] == STORE_BACK
            await told.clock.advance(pause)
        assert told.events() == [STORE_AWAY, STORE_BACK] * len(pauses)


async def test_a_store_that_reports_itself_has_no_line_more() -> None:
    """Neither when it fails nor when it works again."""
    async with Told() as told:
        told.telemetry.trouble(StoreUnavailable("gone", reported=True), "keys", "e1")
        await told.clock.advance(5)
        told.telemetry.recovered("keys", "e1")
        await told.clock.advance(5)
        assert told.events() == []


async def test_an_environment_of_another_member_needs_no_store_here() -> None:
    """Its failures are forgotten with those of Harness: the store that failed it is still to be named."""
    async with Told() as told:
        told.telemetry.trouble(StoreUnavailable("disk full"), "keys", "e1")
        told.telemetry.trouble(StoreUnavailable("disk full"), "keys", "e2")
        await told.clock.advance(5)
        told.telemetry.withdraw("e1")
        told.telemetry.recovered("keys", "e2")
        await told.clock.advance(5)
        assert told.events() == [STORE_AWAY, STORE_BACK]


async def test_at_debug_everybody_has_a_line() -> None:
    """With all that is known of the failure."""
    async with Told("DEBUG") as told:
        told.telemetry.trouble(lost("e1"), "flags", "e1")
        told.telemetry.trouble(lost("e2"), "flags", "e2")
        assert [line["environment"] for line in told.lines()] == ["e1", "e2"]
        assert "client/env/e2" in str(told.lines()[1]["error"])


def test_nothing_waits_where_nobody_would_write_it() -> None:
    """Before services run and after they have ended, and in commands."""
    told = Told()
    told.telemetry.trouble(lost("e1"), "flags", "e1")
    told.telemetry.notices("upstream").info("environment found", "e1")
    assert told.events() == [AWAY, "environment found"]


async def test_what_waits_is_written_at_the_end() -> None:
    """A process that is told to stop has said everything."""
    async with Told() as told:
        told.telemetry.notices("fleet").warning("no longer leading", "e1")
        told.telemetry.trouble(lost("e1"), "flags", "e1")
    assert set(told.events()) == {"no longer leading", AWAY}


async def test_a_notice_about_many() -> None:
    """Keeps what all share of its facts, and is said ever less often."""
    async with Told() as told:
        notices = told.telemetry.notices("upstream")
        for number in range(50):
            notices.info("environment found", f"e{number}", project="shop", identifier=f"name{number}")
        await told.clock.advance(2)
        (line,) = told.lines()
        assert (line["environments"], line["project"]) == (50, "shop")
        assert "identifier" not in line
        for _ in range(300):
            notices.info("environment found", "e1")
            await told.clock.advance(1)
        assert len(told.lines()) <= 1 + 4 + 300 / 60
        assert sum(int(str(line.get("times", 1))) for line in told.lines()[1:]) >= 200


_ENVIRONMENTS = st.sampled_from([f"e{number}" for number in range(6)])
_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("fails"), _ENVIRONMENTS, st.sampled_from("abc"), st.sampled_from(["x", "y"])),
        st.tuples(st.just("works"), _ENVIRONMENTS, st.just(""), st.sampled_from(["x", "y"])),
        st.tuples(st.just("leaves"), _ENVIRONMENTS, st.just(""), st.just("")),
        st.tuples(st.just("waits"), st.just(""), st.just(""), st.just("")),
    ),
    max_size=40,
)


@settings(max_examples=50)
@given(_STEPS)
def test_whatever_happens_begin_and_end_are_told(steps: list[tuple[str, str, str, str]]) -> None:
    """Trouble that stays is told within a minute, with everybody; when it has ended nothing is left open."""
    asyncio.run(_play(steps))


async def _play(steps: list[tuple[str, str, str, str]]) -> None:
    async with Told() as told:
        failing: dict[tuple[str, str], str] = {}
        for step in steps:
            before = len(told.lines())
            await _take(step, told, failing)
            assert not failing or BACK not in told.events()[before:]
        await told.clock.advance(61)
        said = _last_said(told.lines())
        for why in set(failing.values()):
            assert said[why] >= len({name for (name, _), one in failing.items() if one == why})
        for environment, doing in failing:
            told.telemetry.recovered(doing, environment)
        await told.clock.advance(61)
        if failing:
            assert told.events()[-1] == BACK
        assert len(told.lines()) <= 2 * len(steps) + 2


async def _take(step: tuple[str, str, str, str], told: Told, failing: dict[tuple[str, str], str]) -> None:
    what, environment, why, doing = step
    if what == "fails":
        told.telemetry.trouble(lost(environment, why), doing, environment)
        failing[environment, doing] = why
    elif what == "works":
        told.telemetry.recovered(doing, environment)
        failing.pop((environment, doing), None)
    elif what == "leaves":
        told.telemetry.harness.withdraw(environment)
        for key in [key for key in failing if key[0] == environment]:
            del failing[key]
    else:
        await told.clock.advance(2)


def _last_said(lines: list[dict[str, object]]) -> dict[str, int]:
    """How many have each cause, by what the log says in the end."""
    said: dict[str, int] = {}
    for line in lines:
        if line["event"] == AWAY:
            said[str(line["cause"])[-1]] = int(str(line.get("environments", 1)))
        else:
            said.clear()
    return said


async def test_causes_are_bounded() -> None:
    """Texts of others: a thousand different ones are not a thousand lines."""
    async with Told() as told:
        for number in range(1000):
            told.telemetry.trouble(lost("e1", f"request {number}"), "flags", f"e{number}")
        await told.clock.advance(5)
        assert len(told.lines()) <= 17
        assert sum(int(str(line.get("environments", 1))) for line in told.lines()) == 1000
