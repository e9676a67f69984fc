"""Faults drawn from a seed, on a proxy in use: nobody is told anything wrong, and soon all is in order again.

``make chaos SEED= SECONDS=`` goes on for longer, over every form.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos.driver import run
from tests.chaos.world import Form
from tests.support.clean_logs import clean_logs

__all__ = ["clean_logs"]


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("form", "seed"), [(Form.WORKERS, 1), (Form.REDIS, 2), (Form.SENTINEL, 3)])
async def test_faults_at_random(
    tmp_path: Path, form: Form, seed: int, record_property: Callable[[str, object], None]
) -> None:
    """A few rounds; see ``Driver`` for what is held against the proxy."""
    report = await run(form, seed, 4, tmp_path)
    record_property("report", report)
    assert report.answers > 10
    assert report.posts > 1
