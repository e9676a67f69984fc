"""A unit test is quick: what works or waits for longer than a second fails, however busy the machine is."""

import os
from collections.abc import Generator
from typing import Final

import pytest

from tests.support.stopwatch import Cost

LIMIT: Final = 1.0


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, None, None]:
    """Fail a test that is too slow; not where it is known to be slower: deep properties, coverage."""
    before = Cost.now()
    yield
    excess = Cost.now().since(before).excess(LIMIT)
    if excess and "HYPOTHESIS_PROFILE" not in os.environ and "COVERAGE_PROCESS_CONFIG" not in os.environ:
        pytest.fail(f"too slow for a unit test: {excess}, {LIMIT:.0f} s are allowed", pytrace=False)
