"""A unit test is quick: a second is the rule, and one that takes several fails.

The same work costs two to three times as much on a machine that others use too, hence the tolerance.
"""

import os
from collections.abc import Generator

import pytest

from tests.support.stopwatch import Cost

LIMIT = 4.0


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, None, None]:
    """Fail a test that is too slow; not where it is known to be slower: deep properties, coverage."""
    before = Cost.now()
    yield
    excess = Cost.now().since(before).excess(LIMIT)
    if excess and "HYPOTHESIS_PROFILE" not in os.environ and "COVERAGE_PROCESS_CONFIG" not in os.environ:
        pytest.fail(f"too slow for a unit test: {excess}, {LIMIT:.0f} s are allowed", pytrace=False)
