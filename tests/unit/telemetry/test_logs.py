"""Log lines: their form, their level, and what happens where they cannot be written."""

import json
from io import StringIO

import pytest

from ff_proxy.bounded import entry_cost
from ff_proxy.model.keys import Secret
from ff_proxy.telemetry import OnceLog
from ff_proxy.telemetry.logs import make_logger
from tests.support.clock import FakeClock


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


class Full(StringIO):
    """Takes nothing while ``error`` is set."""

    error: Exception | None = OSError(28, "No space left on device")

    def write(self, text: str) -> int:
        if self.error is not None:
            raise self.error
        return super().write(text)


def test_a_line_is_one_json_object() -> None:
    """Whatever its facts are; a secret shows itself as secrets do."""
    out = StringIO()
    make_logger("INFO", out).info("two\nlines", token=Secret("t0p"), number=3, gone=None)
    (line,) = out.getvalue().splitlines()
    said = json.loads(line)
    assert (said["event"], said["level"], said["number"], said["gone"]) == ("two\nlines", "info", 3, None)
    assert "t0p" not in line


def test_people_are_spared_json() -> None:
    """On a terminal a line is text."""
    out = Terminal()
    make_logger("INFO", out).info("listening", port=7000)
    assert "listening" in out.getvalue()
    assert not out.getvalue().startswith("{")


@pytest.mark.parametrize("form", ["json", "text"])
def test_the_form_can_be_chosen(form: str) -> None:
    """On a terminal and elsewhere; colours are for terminals whose people want them."""
    for out in (StringIO(), Terminal()):
        make_logger("INFO", out, form=form, colors=False).info("listening", port=7000)
        assert out.getvalue().startswith("{") == (form == "json")
        assert "\x1b" not in out.getvalue()
    coloured = Terminal()
    make_logger("INFO", coloured, form=form).info("listening", port=7000)
    assert ("\x1b" in coloured.getvalue()) == (form == "text")


def test_what_is_less_severe_is_not_written() -> None:
    """The level is the least that is."""
    out = StringIO()
    log = make_logger("WARNING", out)
    log.debug("a")
    log.info("b")
    log.warning("c")
    log.error("d")
    assert [json.loads(line)["event"] for line in out.getvalue().splitlines()] == ["c", "d"]


@pytest.mark.parametrize(
    "error", [OSError(28, "full"), BrokenPipeError(), ValueError("closed"), BlockingIOError()]
)
def test_lines_that_cannot_be_written_are_lost_and_nothing_else(error: Exception) -> None:
    """A full disk or a reader that left costs lines; the next that can be written is."""
    out = Full()
    out.error = error
    log = make_logger("INFO", out)
    log.warning("lost")
    out.error = None
    log.warning("written")
    assert [json.loads(line)["event"] for line in out.getvalue().splitlines()] == ["written"]


async def test_trouble_is_told_once_and_again_when_it_lasts() -> None:
    """With how often it happened meanwhile; each subject counts for itself."""
    out, clock = StringIO(), FakeClock()
    once = OnceLog(make_logger("INFO", out), clock, interval=300)
    for _ in range(5):
        once.warning("away", "e1")
    once.warning("away", "e2")
    await clock.advance(301)
    once.warning("away", "e1")
    said = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [(line["subject"], line.get("repeated")) for line in said] == [
        ("e1", None),
        ("e2", None),
        ("e1", 4),
    ]


def test_trouble_that_is_over_is_told_anew() -> None:
    """And ``forget`` says whether there was any."""
    out = StringIO()
    once = OnceLog(make_logger("INFO", out), FakeClock())
    assert not once.forget("away")
    once.warning("away")
    assert once.forget("away")
    once.warning("away")
    assert len(out.getvalue().splitlines()) == 2


def test_what_is_remembered_is_bounded() -> None:
    """The oldest is forgotten, and told again when it comes back."""
    out = StringIO()
    once = OnceLog(make_logger("INFO", out), FakeClock(), budget=2 * entry_cost(("away", "a"), (0.0, 0)))
    for subject in ("a", "b", "c", "c", "a"):
        once.warning("away", subject)
    assert [json.loads(line)["subject"] for line in out.getvalue().splitlines()] == ["a", "b", "c", "a"]
