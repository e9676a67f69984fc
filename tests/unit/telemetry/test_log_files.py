"""The last lines of several processes."""

import io
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ff_proxy.telemetry.log_files import LogFile, LogFiles
from ff_proxy.telemetry.log_ring import MOST_LINES, LogRing
from ff_proxy.telemetry.logs import make_logger


def line(number: int, event: str = "event") -> str:
    """A line of second ``number``."""
    return (
        json.dumps(
            {"event": event, "level": "info", "ts": f"2026-01-01T{number:012d}Z"}, separators=(",", ":")
        )
        + "\n"
    )


@given(st.lists(st.sampled_from("abc"), max_size=60), st.integers(200, 2000))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_lines_of_all_processes_are_one_log(
    tmp_path_factory: pytest.TempPathFactory, writers: list[str], budget: int
) -> None:
    """Newest first, whoever wrote them; only the oldest of each are missing."""
    directory = tmp_path_factory.mktemp("logs")
    files = {name: LogFile(directory, name, budget) for name in "abc"}
    for number, name in enumerate(writers):
        files[name].write(line(number, f"{name}{number}"))
    seen = [one.event for one in LogFiles(directory).lines()]
    written = [f"{name}{number}" for number, name in enumerate(writers)]
    kept = {name: [event for event in seen if event[0] == name] for name in "abc"}
    assert seen == [event for event in reversed(written) if event in set(seen)]
    for name in "abc":
        own = [event for event in reversed(written) if event[0] == name]
        assert kept[name] == own[: len(kept[name])]
        assert len(kept[name]) == len(own) or len(kept[name]) * len(line(0)) >= budget // 4
    held = sum(file.stat().st_size for file in directory.iterdir())
    assert held <= 3 * (budget + 2 * len(line(0, "a99")))


def test_no_more_than_the_last_thousand_are_shown(tmp_path: Path) -> None:
    """Of all processes together."""
    for name in ("a", "b"):
        file = LogFile(tmp_path, name)
        for number in range(MOST_LINES):
            file.write(line(number, f"{name}{number}"))
    shown = list(LogFiles(tmp_path).lines())
    assert len(shown) == MOST_LINES
    assert {one.event[0] for one in shown} == {"a", "b"}


def test_a_successor_goes_on_with_the_file(tmp_path: Path) -> None:
    """What its predecessor said last is what people look for."""
    LogFile(tmp_path, "worker-1").write(line(1, "about to fail"))
    LogFile(tmp_path, "worker-1").write(line(2, "started"))
    assert [one.event for one in LogFiles(tmp_path).lines()] == ["started", "about to fail"]
    assert (tmp_path / "worker-1.log").stat().st_mode & 0o777 == 0o600


def test_a_line_that_finds_no_room_costs_nothing_else(tmp_path: Path) -> None:
    """It is on standard output all the same."""
    out = io.StringIO()
    log = make_logger("INFO", out, recent=LogFile(tmp_path / "gone", "worker-1"))
    log.info("event")
    assert '"event":"event"' in out.getvalue()


def test_what_was_kept_in_memory_is_shared_from_then_on(tmp_path: Path) -> None:
    """The first lines are written before there is a directory."""
    ring = LogRing()
    log = make_logger("INFO", io.StringIO(), "supervisor", recent=ring)
    log.info("first")
    ring.copy_to(LogFile(tmp_path, "supervisor"))
    log.info("second")
    found = list(LogFiles(tmp_path).lines())
    assert [(one.event, one.process) for one in found] == [("second", "supervisor"), ("first", "supervisor")]
    assert [one.event for one in ring.lines()] == ["second", "first"]
