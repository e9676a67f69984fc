"""Log levels: one for all, others for single environments, changed while loggers are in use."""

import json
from io import StringIO

from hypothesis import given
from hypothesis import strategies as st

from ff_proxy.telemetry import OnceLog
from ff_proxy.telemetry.levels import LogLevels
from ff_proxy.telemetry.logs import make_logger
from tests.support.clock import FakeClock

_NAMES = ["DEBUG", "INFO", "WARNING", "ERROR"]
_LEVEL = st.sampled_from(_NAMES)


@given(_LEVEL, st.dictionaries(st.sampled_from(["e1", "e2", "e3"]), _LEVEL))
def test_a_line_is_written_by_the_level_of_its_environment(default: str, special: dict[str, str]) -> None:
    """Lines of the others, and those about none, by the level for all."""
    out = StringIO()
    log = make_logger(LogLevels(default, special), out).bind(component="x")
    for name in _NAMES:
        for environment in ("e1", "e2", "e3", "e4", ""):
            facts = {"environment": environment} if environment else {}
            getattr(log, name.lower())("event", **facts)
    written = {(line["level"].upper(), line.get("environment", "")) for line in map(json.loads, _lines(out))}
    assert written == {
        (name, environment)
        for name in _NAMES
        for environment in ("e1", "e2", "e3", "e4", "")
        if _NAMES.index(name) >= _NAMES.index(special.get(environment, default))
    }


def test_what_belongs_to_an_environment_counts_as_it() -> None:
    """Lines that name a flag or a kind of things of it."""
    out = StringIO()
    once = OnceLog(make_logger(LogLevels("ERROR", {"e1": "INFO"}), out), FakeClock())
    for subject in ("e1", "e1/flag", "e1 flags", "e10", "e2/e1"):
        once.warning("odd", subject)
    assert [json.loads(line)["subject"] for line in _lines(out)] == ["e1", "e1/flag", "e1 flags"]


def test_levels_change_for_loggers_that_are_in_use() -> None:
    """Nobody has to be handed another logger."""
    out = StringIO()
    levels = LogLevels("WARNING")
    log = make_logger(levels, out).bind(component="x")
    log.info("one")
    levels.change("INFO", {"e1": "ERROR"})
    log.info("two")
    log.warning("three", environment="e1")
    assert [json.loads(line)["event"] for line in _lines(out)] == ["two"]


def _lines(out: StringIO) -> list[str]:
    return out.getvalue().splitlines()
