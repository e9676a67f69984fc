"""Standard files that are closed or broken, in processes of their own."""

import os
import subprocess
import sys
from pathlib import Path

_OPENED = """
import os
from ff_proxy.runtime.stdio import open_standard_files
open_standard_files()
print("said")
assert os.open("/dev/null", os.O_RDONLY) > 2
"""
_FLUSHED = """
import sys
from ff_proxy.runtime.stdio import flush_standard_output
print("said")
sys.exit(0 if flush_standard_output() else 5)
"""


def run(script: str, redirection: str) -> tuple[int, str, str]:
    """Run Python with its standard files redirected: exit code, output, complaints."""
    done = subprocess.run(
        ["/bin/sh", "-c", f'exec "$0" -c "$1" {redirection}', sys.executable, script],
        capture_output=True,
        text=True,
        timeout=20,
        env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_closed_files_are_opened_to_nowhere() -> None:
    """What is opened later does not get their numbers, and printing is no error."""
    for closed in (">&-", "2>&-", "<&-", ">&- 2>&-", "<&- >&- 2>&-"):
        code, said, complaint = run(_OPENED, closed)
        assert (code, complaint) == (0, ""), closed
        assert said == ("" if closed.startswith(">&-") or "<&- >" in closed else "said\n")


def test_open_files_stay_as_they_are(tmp_path: Path) -> None:
    """Nothing is opened in their place."""
    file = tmp_path / "out"
    assert run(_OPENED, f">{file}") == (0, "", "")
    assert file.read_text() == "said\n"


def test_what_cannot_be_written_is_dropped_without_a_trace() -> None:
    """The interpreter has nothing left to complain about when it ends."""
    assert run(_FLUSHED, ">/dev/full") == (5, "", "")
    assert run(_FLUSHED, "") == (0, "said\n", "")
