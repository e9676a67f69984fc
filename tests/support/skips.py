"""A plugin of pytest: in CI nothing may be skipped, and elsewhere a skip is seen."""

import os
from collections.abc import Generator

import pytest

NOT_TESTED = "not tested"
"""A property of a test that passed, by ``record_property``: what it had to leave out, and why."""


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI a skipped test is a failed one: what it needs has to be installed there.

    So is one that is expected to fail, whether it does or not. Outermost, after pytest has marked those.

    See spec/behaviour#external-tools.
    """
    report = yield
    _fail_if_skipped_in_ci(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for a module that skips itself while it is collected."""
    report = yield
    _fail_if_skipped_in_ci(report)
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Outside CI, name what was not tested in a section of its own."""
    skipped = terminalreporter.stats.get("skipped", [])
    if skipped:
        terminalreporter.section("NOT TESTED HERE, and a failure in CI", sep="!", red=True, bold=True)
        for report in skipped:
            terminalreporter.write_line(f"{report.nodeid}: {_reason(report)}", red=True)
    missing = [
        f"{report.nodeid}: {text}"
        for report in terminalreporter.stats.get("passed", [])
        for name, text in report.user_properties
        if name == NOT_TESTED
    ]
    if missing:
        terminalreporter.section("NOT TESTED HERE, for want of what no package has", sep="!", bold=True)
        for line in missing:
            terminalreporter.write_line(line, yellow=True)


def _fail_if_skipped_in_ci(report: pytest.TestReport | pytest.CollectReport) -> None:
    if os.environ.get("CI") != "true":
        return
    if hasattr(report, "wasxfail"):
        report.longrepr = f"expected to fail in CI: {report.wasxfail}"
        del report.wasxfail
    elif report.skipped:
        report.longrepr = f"skipped in CI: {_reason(report)}"
    else:
        return
    report.outcome = "failed"


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    return str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)
