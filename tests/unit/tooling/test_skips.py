"""A skip is loud outside CI and a failure inside it."""

from pathlib import Path

import pytest

from tests.support.skips import NOT_TESTED
from tests.support.small_suite import run_suite

PLUGIN = "tests.support.skips"
AT_RUN_TIME = "import pytest\ndef test_it():\n    pytest.skip('no redis here')\n"
AT_COLLECTION = "import pytest\npytest.importorskip('absent_module_of_ours')\n"


def test_outside_ci_a_skip_is_named_in_a_section_of_its_own(tmp_path: Path) -> None:
    """A run with skips succeeds, and says what was not tested."""
    done = run_suite(tmp_path, AT_RUN_TIME, PLUGIN)
    assert done.returncode == pytest.ExitCode.OK, done.stdout
    assert "no redis here" in done.stdout.split("NOT TESTED HERE")[1]


@pytest.mark.parametrize(
    ("test_module", "reason"),
    [(AT_RUN_TIME, "no redis here"), (AT_COLLECTION, "absent_module_of_ours")],
    ids=["a test", "a module"],
)
def test_in_ci_a_skip_fails_the_run(tmp_path: Path, test_module: str, reason: str) -> None:
    """Neither a test nor a whole module can skip itself in CI."""
    done = run_suite(tmp_path, test_module, PLUGIN, CI="true")
    assert done.returncode in {pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.INTERRUPTED}, done.stdout
    assert "skipped in CI" in done.stdout
    assert reason in done.stdout


@pytest.mark.parametrize("body", ["assert False", "pass", "pytest.xfail('known to be broken')"])
def test_in_ci_nothing_may_be_expected_to_fail(tmp_path: Path, body: str) -> None:
    """Whether it does or not; outside CI pytest counts it as it always does."""
    mark = "" if "xfail" in body else "@pytest.mark.xfail(reason='known to be broken')\n"
    module = f"import pytest\n{mark}def test_it():\n    {body}\n"
    assert run_suite(tmp_path, module, PLUGIN).returncode == pytest.ExitCode.OK
    done = run_suite(tmp_path, module, PLUGIN, CI="true")
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout
    assert "expected to fail in CI: " in done.stdout
    assert "known to be broken" in done.stdout


def test_what_a_test_left_out_is_named_though_it_passed(tmp_path: Path) -> None:
    """In CI too, where it is no failure: an interpreter, say, that cannot be had there."""
    module = f"def test_it(record_property):\n    record_property({NOT_TESTED!r}, 'no Python 9 here')\n"
    done = run_suite(tmp_path, module, PLUGIN, CI="true")
    assert done.returncode == pytest.ExitCode.OK, done.stdout
    assert "no Python 9 here" in done.stdout.split("NOT TESTED HERE")[1]
