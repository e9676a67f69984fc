"""A plugin of pytest: with ``--costs`` a run ends by saying which modules wait, and which need the CPU."""

import time
from collections import defaultdict
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

import pytest

from tests.support.fork_server import forked_seconds
from tests.support.stopwatch import Cost

_COST: Final = "cost"
_MODULES: Final = 60


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--costs`` for the table, ``--costs=FILE`` to have the figures of each test too."""
    told = "say at the end what each module has cost; the figures of each test go to FILE"
    parser.addoption("--costs", nargs="?", const="", metavar="FILE", help=told)


def pytest_configure(config: pytest.Config) -> None:
    """Nothing is measured unless it was asked for."""
    file = config.getoption("costs")
    if file is not None:
        config.pluginmanager.register(_Measuring())
        if not hasattr(config, "workerinput"):
            config.pluginmanager.register(_Telling(file))


@dataclass(slots=True)
class _Spent:
    """Seconds; ``children`` are processes that have ended, whichever test started them."""

    wall: float = 0.0
    cpu: float = 0.0
    children: float = 0.0
    tests: int = 0

    def add(self, other: "_Spent") -> None:
        self.wall += other.wall
        self.cpu += other.cpu
        self.children += other.children
        self.tests += other.tests

    def line(self, name: str) -> str:
        return f"{self.wall:8.1f} {self.cpu:8.1f} {self.children:8.1f} {self.tests:6} {name}"


@final
class _Measuring:
    """Where tests run: the report of each phase says what it has cost."""

    def __init__(self) -> None:
        self._before = Cost.now()
        self._forked = forked_seconds()

    def pytest_runtest_logstart(self) -> None:
        """A test begins."""
        self._before = Cost.now()
        self._forked = forked_seconds()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """A phase has ended."""
        report = yield
        before, self._before = self._before, Cost.now()
        forked, self._forked = self._forked, forked_seconds()
        spent = self._before.since(before)
        children = spent.children + self._forked - forked
        report.user_properties.append((_COST, f"{spent.wall} {spent.cpu} {children}"))
        return report


@final
class _Telling:
    """Where reports arrive.

    Args:
        file: where each test gets a line; nowhere if this is empty.
    """

    def __init__(self, file: str) -> None:
        self._file = file
        self._begun = time.time()
        self._tests: dict[str, _Spent] = defaultdict(lambda: _Spent(tests=1))
        self._spans: dict[str, tuple[float, float]] = {}
        self._where: dict[str, tuple[str, float]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """One phase of one test."""
        process = getattr(report, "worker_id", "main")
        start, stop = report.start - self._begun, report.stop - self._begun
        self._spans[process] = (self._spans.get(process, (start, stop))[0], stop)
        self._where.setdefault(report.nodeid, (process, start))
        for name, text in report.user_properties:
            if name == _COST:
                wall, cpu, children = map(float, str(text).split())
                self._tests[report.nodeid].add(_Spent(wall, cpu, children))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """The modules that took longest, all of them together, and when each process had something to do."""
        modules: dict[str, _Spent] = defaultdict(_Spent)
        for name, spent in self._tests.items():
            modules[name.partition("::")[0]].add(spent)
            modules["all"].add(spent)
        terminalreporter.section("costs in seconds")
        terminalreporter.write_line(f"{'wall':>8} {'CPU':>8} {'children':>8} {'tests':>6}")
        for name, spent in sorted(modules.items(), key=lambda one: -one[1].wall)[:_MODULES]:
            terminalreporter.write_line(spent.line(name))
        for process, (start, stop) in sorted(self._spans.items()):
            terminalreporter.write_line(f"{process}: tests from {start:.1f} to {stop:.1f}")
        if self._file:
            Path(self._file).write_text("".join(map(self._line, self._tests)), encoding="utf-8")

    def _line(self, name: str) -> str:
        process, start = self._where[name]
        spent = self._tests[name]
        figures = (start, spent.wall, spent.cpu, spent.children)
        return "\t".join([name, process, *(f"{seconds:.3f}" for seconds in figures)]) + "\n"
