"""A unit test that takes too long fails, and says what it does for so long."""

from pathlib import Path

import pytest

from tests.support.small_suite import run_suite

QUICK = "def test_it():\n    pass\n"
# Half a second has to do here: nobody has to wait until four are over.
SLOW = "import time\nimport tests.unit.conftest\ntests.unit.conftest.LIMIT = 0.5\n"
WORKS = f"{SLOW}end = time.process_time() + 1\ndef test_it():\n    while time.process_time() < end: pass\n"
WAITS = f"{SLOW}def test_it():\n    time.sleep(1)\n"


@pytest.mark.parametrize(
    ("module", "says"), [(QUICK, "1 passed"), (WORKS, "works for"), (WAITS, "waits for")]
)
def test_a_unit_test_is_quick_or_fails(tmp_path: Path, module: str, says: str) -> None:
    """Whether it is work or waiting."""
    done = run_suite(tmp_path, module, "tests.unit.conftest")
    assert says in done.stdout
    assert (done.returncode == pytest.ExitCode.OK) == (module == QUICK)
