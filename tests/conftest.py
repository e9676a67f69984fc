"""What holds for every test: how thorough it is, what runs beside it, and that no skip goes unseen."""

import gc
import os
from collections.abc import Generator
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import pytest
from hypothesis import settings
from xdist.remote import Producer

from tests.support.distribution import GroupScheduling, distribute
from tests.support.garbage import set_aside

pytest_plugins = ["tests.support.costs", "tests.support.skips"]

settings.register_profile("quick", max_examples=50, deadline=None, derandomize=True)
settings.register_profile("deep", max_examples=2000, deadline=None)


def pytest_configure() -> None:
    """Choose how many examples properties are tried with; in ``quick`` they are the same in every run."""
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, None, None]:
    """What is collected is no garbage: looking for some takes an eighth of the time, and more later."""
    gc.disable()
    try:
        _compile_share(session)
        yield
    finally:
        gc.enable()
    set_aside()


def _compile_share(session: pytest.Session) -> None:
    """Under xdist every process imports all tests: let each compile a part of them for the others.

    In a fresh clone that is most of what collecting costs.
    """
    worker = getattr(session.config, "workerinput", None)
    if worker is None:
        return
    first, every = int(worker["workerid"].removeprefix("gw")), worker["workercount"]
    for path in sorted(Path(__file__).parent.rglob("test_*.py"))[first::every]:
        with suppress(Exception, pytest.skip.Exception):  # whatever it is, the collection tells it
            import_module(".".join(path.relative_to(Path(__file__).parents[1]).with_suffix("").parts))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Under xdist: tests that share something expensive stay together, and what takes long starts first."""
    if hasattr(config, "workerinput"):
        distribute(items)
    if settings.get_current_profile_name() == "deep":
        for item in items:
            item.add_marker(pytest.mark.timeout(0), append=False)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> GroupScheduling:
    """Let xdist hand out groups of ours: its own, by marks, are not seen by this release of pytest."""
    return GroupScheduling(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep what a test has recorded as text, since its report goes from one process of xdist to another."""
    report = yield
    report.user_properties = [(name, str(value)) for name, value in report.user_properties]
    return report
