"""A unit test that takes too long fails, and says what it does for so long."""

from pathlib import Path

import pytest

from tests.support.small_suite import run_suite

QUICK = "def test_it():\n    pass\n"
WORKS = "import time\ndef test_it():\n    while time.process_time() < 5:\n        pass\n"
WAITS = "import time\ndef test_it():\n    time.sleep(5)\n"


@pytest.mark.parametrize(
    ("module", "says"), [(QUICK, "1 passed"), (WORKS, "works for"), (WAITS, "waits for")]
)
def test_a_unit_test_is_quick_or_fails(tmp_path: Path, module: str, says: str) -> None:
    """Whether it is work or waiting."""
    done = run_suite(tmp_path, module, "tests.unit.conftest")
    assert says in done.stdout
    assert (done.returncode == pytest.ExitCode.OK) == (module == QUICK)
