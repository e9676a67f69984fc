"""What the suite itself rests on: ports that nobody else is given, groups, and what a test costs."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.distribution import group
from tests.support.ports import Reservations, free_port
from tests.support.stopwatch import Cost

ROOT = Path(__file__).parents[3]
HOLDER = """
import sys
from pathlib import Path
from tests.support.ports import Reservations
print(Reservations(Path(sys.argv[1])).port(), flush=True)
sys.stdin.read()
"""


def test_a_port_is_given_to_one_process_at_a_time(tmp_path: Path) -> None:
    """As long as that process lives, whatever it does with the port."""
    file = tmp_path / "ports"
    command = [sys.executable, "-c", HOLDER, str(file)]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        port = int(holder.stdout.readline())
        ours = Reservations(file)
        assert not ours._reserve(port)
        holder.kill()
        holder.wait()
        assert ours._reserve(port)


def test_ports_are_given_once() -> None:
    """Also within a process, whether or not anybody listens yet."""
    ports = [free_port() for _ in range(50)]
    assert len(set(ports)) == 50


@pytest.mark.parametrize(
    ("nodeid", "expected"),
    [
        ("tests/unit/test_aio.py::test_it", "tests/unit/test_aio.py"),
        ("tests/integration/test_demo.py::test_it[a::b]", "tests/integration/test_demo.py"),
        ("tests/integration/sdk/test_sdks.py::test_it[go]", "integration/sdk"),
        ("tests/contract/test_configs.py::test_it[redis]", "contract"),
        ("tests/process/test_workers.py::test_it[1]", "tests/process/test_workers.py::test_it[1]"),
    ],
)
def test_what_shares_a_fixture_stays_together(nodeid: str, expected: str) -> None:
    """A module, some folders, or a test alone."""
    assert group(nodeid) == expected


@pytest.mark.parametrize(
    ("cost", "says"),
    [
        (Cost(wall=9.0, cpu=0.5, children=0.0, queued=8.4), None),
        (Cost(wall=1.2, cpu=1.1, children=0.0, queued=0.0), "works for 1.1 s"),
        (Cost(wall=3.0, cpu=0.1, children=1.0, queued=0.0), "works for 1.1 s"),
        (Cost(wall=5.0, cpu=0.1, children=0.0, queued=0.1), "waits for 4.8 s"),
        # What children do is known, but not for how long they wait for a CPU.
        (Cost(wall=5.0, cpu=0.1, children=0.5, queued=0.1), None),
    ],
)
def test_a_busy_machine_is_no_fault_of_a_test(cost: Cost, says: str | None) -> None:
    """Work counts, and waiting for anything but a CPU."""
    excess = cost.excess(1.0)
    assert excess is None if says is None else says in (excess or "")


def test_work_and_waiting_are_told_apart() -> None:
    """By the system's own figures."""
    before = Cost.now()
    total = sum(range(200_000))
    spent = Cost.now().since(before)
    assert total
    assert 0 < spent.cpu <= spent.wall + 0.1
    assert spent.children == 0
