"""A run of the suite can say what it has cost."""

from pathlib import Path

from tests.support.small_suite import run_suite

SUITE = "import time\ndef test_it():\n    time.sleep(0.3)\ndef test_another():\n    pass\n"


def test_a_run_says_what_its_modules_cost(tmp_path: Path) -> None:
    """Time that goes by is told apart from work; each test has a line in the file."""
    file = tmp_path / "costs.tsv"
    done = run_suite(tmp_path, SUITE, "tests.support.costs", PYTEST_ADDOPTS=f"--costs={file}")
    assert done.returncode == 0, done.stdout
    wall, cpu, children, tests = next(
        line.split()[:4] for line in done.stdout.splitlines() if line.endswith(" test_it.py")
    )
    assert float(wall) >= 0.3
    assert float(cpu) < float(wall)
    assert (float(children), int(tests)) == (0.0, 2)
    lines = [line.split("\t") for line in file.read_text("utf-8").splitlines()]
    assert [line[0] for line in lines] == ["test_it.py::test_it", "test_it.py::test_another"]
    assert float(lines[0][3]) >= 0.3


def test_nobody_is_told_who_has_not_asked(tmp_path: Path) -> None:
    """Reports are as they were."""
    done = run_suite(tmp_path, SUITE, "tests.support.costs")
    assert (done.returncode, "costs" in done.stdout) == (0, False)
