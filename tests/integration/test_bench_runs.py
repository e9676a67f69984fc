"""Every benchmark still runs, says what goes wrong, and leaves no server behind."""

import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from bench.suite import BENCHMARKS

ROOT = Path(__file__).parents[2]
# They take half a minute each even so.
LONG = {"fleet", "losses"}
NAMES = sorted(set(BENCHMARKS) - LONG)
DESPERATE = 100.0
TOGETHER = 600.0


def bench(*arguments: str) -> subprocess.Popen[str]:
    """A run of ``python -m bench``."""
    command = [sys.executable, "-m", "bench", *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@dataclass(frozen=True, slots=True)
class Run:
    """What all benchmarks said in one run, by their names, and its exit code."""

    said: Mapping[str, str]
    code: int


@pytest.fixture(scope="module")
def quick() -> Run:
    """Of all that this machine has the tools for; one run, since starting Python for each takes as long."""
    with bench(*(name for name in NAMES if not BENCHMARKS[name].missing), "--quick") as running:
        said, _ = running.communicate(timeout=TOGETHER)
    parts = re.split(r"(?m)^== (\w+): ", said)
    return Run(dict(zip(parts[1::2], parts[2::2], strict=True)), running.returncode)


@pytest.mark.timeout(TOGETHER + 20)
@pytest.mark.parametrize("name", NAMES)
def test_a_quick_run_measures_something(name: str, quick: Run) -> None:
    """Only that it works: the figures of a quick run mean nothing."""
    if BENCHMARKS[name].missing:
        pytest.skip(f"no {', '.join(BENCHMARKS[name].missing)}: install it")
    said = quick.said[name]
    assert "FAILED" not in said
    assert re.search(r"^.*\d", said.partition("\n\n")[2], re.MULTILINE), said


def test_a_quick_run_ends_well(quick: Run) -> None:
    """All of it has been carried out."""
    assert quick.code == 0, quick.said


@pytest.mark.timeout(DESPERATE)
def test_a_run_that_is_ended_ends_its_servers() -> None:
    """SIGTERM counts as Ctrl-C does."""
    with bench("startup", "--quick") as running:
        assert running.stdout is not None
        assert "startup" in running.stdout.readline()  # before that, its children tell what machine this is
        children = until_children(running.pid)
        running.send_signal(signal.SIGTERM)
        said, _ = running.communicate(timeout=DESPERATE)
    assert running.returncode == 130, said
    assert "interrupted" in said
    assert all(has_ended(child) for child in children)


def until_children(pid: int) -> list[str]:
    """The children of a process, once it has any."""
    while not (children := Path(f"/proc/{pid}/task/{pid}/children").read_text().split()):
        time.sleep(0.01)
    return children


def has_ended(pid: str) -> bool:
    """Whether a process is gone, but perhaps for its entry that nobody has collected."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.mark.parametrize(
    ("program", "complaint"),
    [
        (
            "with running('a server', ['sh', '-c', 'echo what is wrong; exit 3'], 1): pass",
            "a server is not ready, exit status 3:\nwhat is wrong",
        ),
        ("with running('a server', ['no-such-program'], 1): pass", "a server cannot be started"),
        ("with controlled('a server', ['sh', '-c', 'echo 1']): pass", "a server did not start"),
        ("with within(0.1, 'a benchmark'): time.sleep(60)", "a benchmark was not over within 0 s"),
    ],
)
def test_what_goes_wrong_is_said(program: str, complaint: str) -> None:
    """In words, whatever it is that does not start or does not end."""
    head = "import time; from bench.common.processes import controlled, running, within"
    done = subprocess.run(
        [sys.executable, "-c", f"{head}\n{program}"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert f"BenchError: {complaint}" in done.stderr


def test_what_a_server_started_ends_with_it(tmp_path: Path) -> None:
    """Also what would outlive it."""
    note = tmp_path / "pid"
    program = (
        "from pathlib import Path; from bench.common.processes import running\n"
        f"note = Path({str(note)!r})\n"
        "command = ['sh', '-c', f'trap \"exit\" TERM; sleep 1000 & echo $! > {note}; wait']\n"
        "with running('a server', command, 1, ready=lambda: note.exists() and note.read_text()): pass"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, timeout=20)
    assert has_ended(note.read_text().strip())
