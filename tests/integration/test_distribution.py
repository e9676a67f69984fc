"""The suite is shared out over processes in groups."""

import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[2]


def test_a_group_runs_in_one_process() -> None:
    """Otherwise every process would start all the SDKs, and the load fails tests that wait for them."""
    command = ["-m", "pytest", "-v", "-n", "2", "--dist", "loadscope", "tests/contract", "-k", "memory"]
    done = subprocess.run(
        [sys.executable, *command], cwd=PROJECT, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout
    lines = [line for line in done.stdout.splitlines() if "PASSED tests/contract/" in line]
    assert len({line.split("::")[0].split()[-1] for line in lines}) > 1, done.stdout
    assert len({line.split()[0] for line in lines}) == 1, "the modules of a group ran in several processes"
