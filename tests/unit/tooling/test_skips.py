"""A skip is loud outside CI and a failure inside it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
AT_RUN_TIME = "import pytest\ndef test_it():\n    pytest.skip('no redis here')\n"
AT_COLLECTION = "import pytest\npytest.importorskip('absent_module_of_ours')\n"


def run_suite(directory: Path, test_module: str, *, ci: bool) -> subprocess.CompletedProcess[str]:
    """Run a suite of one module under our plugin, and no other."""
    (directory / "test_it.py").write_text(test_module)
    environ = {name: value for name, value in os.environ.items() if name != "CI"}
    arguments = ["-q", "-p", "tests.support.skips", "--rootdir", str(directory), str(directory)]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *arguments],
        cwd=ROOT,
        env=environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"} | ({"CI": "true"} if ci else {}),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_outside_ci_a_skip_is_named_in_a_section_of_its_own(tmp_path: Path) -> None:
    """A run with skips succeeds, and says what was not tested."""
    done = run_suite(tmp_path, AT_RUN_TIME, ci=False)
    assert done.returncode == pytest.ExitCode.OK, done.stdout
    assert "no redis here" in done.stdout.split("NOT TESTED HERE")[1]


@pytest.mark.parametrize(
    ("test_module", "reason"), [(AT_RUN_TIME, "no redis here"), (AT_COLLECTION, "absent_module_of_ours")]
)
def test_in_ci_a_skip_fails_the_run(tmp_path: Path, test_module: str, reason: str) -> None:
    """Neither a test nor a whole module can skip itself in CI."""
    done = run_suite(tmp_path, test_module, ci=True)
    assert done.returncode in {pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.INTERRUPTED}, done.stdout
    assert "skipped in CI" in done.stdout
    assert reason in done.stdout
