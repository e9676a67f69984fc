"""Bad requests to a whole proxy, one process and workers: no error of ours, no hang, and nothing left behind.

``make fuzz`` sends a hundred thousand.
"""

from pathlib import Path

import pytest

from tests.chaos.fuzz import fuzz
from tests.chaos.world import Form
from tests.support.clean_logs import clean_logs

__all__ = ["clean_logs"]


@pytest.mark.parametrize(("form", "seed"), [(Form.MEMORY, 11), (Form.WORKERS, 12)])
async def test_bad_requests(tmp_path: Path, form: Form, seed: int) -> None:
    """Drawn from a seed; ``Fuzz`` says what is held against the proxy."""
    report = await fuzz(form, seed, 600, tmp_path)
    assert {200, 400, 401, 403, 404, 405} <= report.statuses.keys()
