"""The shell lines of the documentation: whoever copies them finds that they work."""

import asyncio
from pathlib import Path

import pytest

from tests.support.docs_shell import BEFORE, missing_programs, run_page

pytestmark = pytest.mark.timeout(150)


@pytest.mark.parametrize("page", BEFORE)
async def test_every_line_of_the_page_works(page: str, tmp_path: Path) -> None:
    """In their order, in an empty folder, on a network of their own."""
    if missing := missing_programs(page):
        pytest.skip(f"this machine lacks {', '.join(missing)}")
    done = await asyncio.to_thread(run_page, page, tmp_path)
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-5000:]}"
