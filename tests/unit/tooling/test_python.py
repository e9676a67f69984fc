"""``make install`` finds an interpreter that will do, or says what to do."""

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[3] / "scripts/python"


def run_script(directory: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Call it where ``directory`` is all there is on PATH."""
    return subprocess.run(
        ["/bin/sh", str(SCRIPT)],
        env={"PATH": str(directory), **environ},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


def test_an_interpreter_that_is_too_old_is_passed_over(tmp_path: Path) -> None:
    """Whatever its name says."""
    (tmp_path / "python3.14").symlink_to("/bin/false")
    (tmp_path / "python3").symlink_to(sys.executable)
    done = run_script(tmp_path)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).is_file()


def test_without_an_interpreter_it_says_what_to_do(tmp_path: Path) -> None:
    """Nothing on standard output, since that is taken for the interpreter."""
    done = run_script(tmp_path)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "needs Python 3.11 or newer" in done.stderr


def test_a_named_interpreter_is_the_only_candidate(tmp_path: Path) -> None:
    """Whoever names one does not want another."""
    (tmp_path / "python3").symlink_to(sys.executable)
    assert run_script(tmp_path, PYTHON="/bin/false").returncode == 1
    assert run_script(tmp_path, PYTHON=sys.executable).returncode == 0
