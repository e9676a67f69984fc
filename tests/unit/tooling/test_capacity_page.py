"""docs/capacity.md is what the newest results give, and the command works out anybody's fleet."""

from pathlib import Path

import pytest

from bench.capacity import __main__ as command
from bench.capacity.formatting import number, seconds, share, size
from bench.capacity.measured import read_units
from bench.capacity.page import PAGE, page
from bench.common.results import newest_report, write_report
from tests.unit.tooling.capacity_figures import figures, report


def test_the_page_is_what_the_newest_results_give() -> None:
    """Nobody writes it by hand: ``make page`` does."""
    assert PAGE.read_text(encoding="utf-8") == page(newest_report())


def test_the_newest_results_have_every_figure() -> None:
    """A row that was renamed in a benchmark is found here, or by whoever keeps the next results."""
    held = newest_report()
    if held is not None:
        assert read_units(held).redis.change.commands > 0


def test_results_that_lack_figures_are_told_apart() -> None:
    """The page names what is not there, and makes nothing up."""
    held = figures()
    lacking = next(iter(held))
    del held[lacking]
    text = page(report(held))
    assert ", ".join(lacking) in text
    assert "## Members needed" not in text
    assert "make bench" in page(None)


def test_the_whole_page() -> None:
    """Every part is there, every table is even, no figure is missing; a quick run is said to be one."""
    text = page(report(figures(), quick=True))
    assert "figures mean nothing" in text
    for part in ("carry", "Members needed", "What breaks first", "Restarts and changes", "Unit costs"):
        assert part in text
    lines = text.splitlines()
    for number_of, line in enumerate(lines):
        if line.startswith("| ---"):
            assert lines[number_of - 1].count(" | ") == line.count(" | ")
            assert lines[number_of + 1].count(" | ") == line.count(" | ")
    assert "nan" not in text
    assert "10,000,000" in text


def test_differences_that_were_lost_in_noise_do_no_harm() -> None:
    """Where one more costs nothing that was measured, the page is written all the same."""
    same = {place: 1.0 if place.column in {"s", "ready s"} else 1000.0 for place in figures()}
    text = page(report(same))
    assert "## What this assumes" in text
    assert "nan" not in text


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (number(0), "0"),
        (number(3.0), "3"),
        (number(0.0344), "0.034"),
        (number(0.999), "1.0"),
        (number(9.96), "10"),
        (number(1234), "1,200"),
        (number(float("inf")), "any number"),
        (seconds(0), "0 ms"),
        (seconds(0.0005), "0.50 ms"),
        (seconds(0.25), "0.2 s"),
        (seconds(61.2), "61 s"),
        (size(93), "93 bytes"),
        (size(1840), "1.8 kB"),
        (size(2.4e9), "2.4 GB"),
        (share(0.004), "< 1 %"),
        (share(0.4), "40 %"),
    ],
)
def test_figures_have_the_digits_that_they_are_worth(said: str, expected: str) -> None:
    """Two, and a unit."""
    assert said == expected


def test_the_command_works_out_a_fleet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From a file of results."""
    kept = str(write_report(report(figures()), tmp_path))
    given = ["--results", kept, "--sdks", "20000", "--client-sdks", "50000", "--flags", "300"]
    assert command.main([*given, "--changes", "2", "--tls", "--cores", "2", "--memory", "4"]) == 0
    said = capsys.readouterr().out
    assert "2 cores, 4 GB, 65,536 files, 1 Gbit/s" in said
    assert "members**" in said
    assert "a member is killed" in said


def test_the_command_says_what_is_not_enough(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Rather than a number that means nothing."""
    kept = str(write_report(report(figures()), tmp_path))
    given = ["--results", kept, "--polling-sdks", "10", "--environments", "1000", "--flags", "2000"]
    assert command.main([*given, "--memory", "1"]) == 0
    assert "No number of members is enough" in capsys.readouterr().out


def test_the_command_says_what_is_lacking(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And that nothing was asked for."""
    held = figures()
    del held[next(iter(held))]
    kept = str(write_report(report(held), tmp_path))
    assert command.main(["--results", kept, "--server-sdks", "1"]) == 1
    assert "lack" in capsys.readouterr().out
    whole = str(write_report(report(figures()), tmp_path))
    with pytest.raises(SystemExit):
        command.main(["--results", whole])
