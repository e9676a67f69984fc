"""What is taken up without a restart, and by whom."""

import io
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest

from ff_proxy.admin.ports import ReloadResult
from ff_proxy.app.options_reload import APPLIED, OptionsReload
from ff_proxy.config.load import load
from ff_proxy.config.records import ALL, RoleOptions
from ff_proxy.telemetry.logs import make_logger


class Part:
    """Something that takes up options; ``refuses`` are the flags that it cannot."""

    def __init__(self, *refuses: str) -> None:
        self.given: list[Any] = []
        self._refuses = refuses

    def __call__(self, options: RoleOptions) -> Collection[str]:
        self.given.append(options)
        return self._refuses


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A file of options."""
    path = tmp_path / "config.toml"
    path.write_text('log-level = "INFO"\nport = 7001\n')
    return path


@pytest.fixture
def out() -> io.StringIO:
    """The log."""
    return io.StringIO()


@pytest.fixture
def again(config: Path, out: io.StringIO) -> OptionsReload:
    """The options of an offline proxy."""
    loaded = load(["-offline", f"-config-dir={config.parent}", f"-config={config}"], {})
    return OptionsReload(loaded, make_logger("INFO", out))


def test_only_what_somebody_takes_up_is_said_to_be_in_force(again: OptionsReload, config: Path) -> None:
    """Everything else needs a restart, and is said again at each reload until then."""
    levels, others = Part(), Part()
    again.add(["log-level"], levels)
    again.add(["cors-allowed-origins"], others)
    config.write_text('log-level = "ERROR"\nport = 7002\n')
    result = again()
    assert (result.changed, result.restart, result.problems) == (("log-level",), ("port",), ())
    assert levels.given[0].operation.log_level.value == "ERROR"
    assert others.given == []
    result = again()
    assert (result.changed, result.restart) == ((), ("port",))
    assert len(levels.given) == 1
    values = {one.option.flag: one.value for one in again.loaded.report}
    assert (values["log-level"].value, values["port"]) == ("ERROR", 7001)


def test_nothing_is_taken_up_if_anything_is_wrong(
    again: OptionsReload, config: Path, out: io.StringIO
) -> None:
    """Also what would be right by itself."""
    levels = Part()
    again.add(["log-level"], levels)
    config.write_text('log-level = "ERROR"\nport = "many"\n')
    (problem,) = again().problems
    assert "port" in problem
    assert levels.given == []
    assert json.loads(out.getvalue().splitlines()[-1])["level"] == "error"


def test_a_part_may_say_that_it_needs_a_restart_all_the_same(again: OptionsReload, config: Path) -> None:
    """As for a key that was taken away."""
    again.add(["log-level"], Part("log-level"))
    config.write_text('log-level = "ERROR"\nport = 7001\n')
    assert again().restart == ("log-level",)


def test_a_process_that_is_started_later_takes_up_what_is_in_force(
    again: OptionsReload, config: Path
) -> None:
    """It was made with the options of the start."""
    before = Part()
    again.for_child(make_logger("ERROR")).add(["log-level"], before)
    assert before.given == []
    again.add(["log-level"], Part())
    config.write_text('log-level = "ERROR"\nport = 7001\n')
    again()
    later = Part()
    again.for_child(make_logger("ERROR")).add(["log-level"], later)
    assert [one.operation.log_level.value for one in later.given] == ["ERROR"]


def test_another_mode_is_for_the_next_start(config: Path) -> None:
    """Nothing of it is taken up by parts that were made for this one."""
    config.write_text('log-level = "INFO"\noffline = true\n')
    again = OptionsReload(load([f"-config={config}"], {}), make_logger("ERROR"))
    levels = Part()
    again.add(["log-level"], levels)
    config.write_text('log-level = "ERROR"\nread-replica = true\nredis-address = "127.0.0.1"\n')
    result = again()
    assert result.changed == ()
    assert {"log-level", "offline", "read-replica"} <= set(result.restart)
    assert levels.given == []
    later = Part()
    again.for_child(make_logger("ERROR")).add(["log-level"], later)
    assert later.given == []


def test_what_the_go_proxy_had_changes_nothing(again: OptionsReload, config: Path) -> None:
    """No restart would either."""
    config.write_text(config.read_text() + "pprof = true\n")
    assert again() == ReloadResult()


def test_what_is_taken_up_is_declared_so() -> None:
    """The settings page must promise neither less nor more."""
    declared = {option.flag for option in ALL if option.reloadable}
    assert set(APPLIED) == declared
