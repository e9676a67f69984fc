"""How much memory there is, from the files in which the system says so."""

from pathlib import Path

import pytest

from ff_proxy.model.memory import LEAST_BUDGET
from ff_proxy.runtime.memory import default_budget

GIB = 1024**3


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, LEAST_BUDGET),
        ({"proc/meminfo": "MemTotal:       8388608 kB\nMemFree: 1 kB\n"}, 2 * GIB),
        ({"proc/meminfo": "MemTotal: 8388608 kB\n", "sys/fs/cgroup/memory.max": "4294967296\n"}, GIB),
        ({"proc/meminfo": "MemTotal: 8388608 kB\n", "sys/fs/cgroup/memory.max": "max\n"}, 2 * GIB),
        ({"sys/fs/cgroup/memory.max": "1000000\n"}, LEAST_BUDGET),
        (
            {
                "proc/meminfo": "MemTotal: 8388608 kB\n",
                "proc/self/cgroup": "0::/system.slice/ff.service\n",
                "sys/fs/cgroup/system.slice/memory.max": "4294967296\n",
                "sys/fs/cgroup/system.slice/ff.service/memory.max": "max\n",
            },
            GIB,
        ),
        (
            {
                "proc/meminfo": "MemTotal: 8388608 kB\n",
                "proc/self/cgroup": "5:cpu:/x\n4:memory:/docker/1\n",
                "sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes": "4294967296\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
            },
            GIB,
        ),
        ({"proc/meminfo": "nonsense", "sys/fs/cgroup/memory.max": "\udcff"}, LEAST_BUDGET),
        ({"proc/self/cgroup": "0::/../../..\nbroken\n", "proc/meminfo": "MemTotal: 8388608 kB"}, 2 * GIB),
    ],
)
def test_the_smallest_limit_counts(tmp_path: Path, files: dict[str, str], expected: int) -> None:
    """Of the machine, and of any group that the process is in, in both versions of control groups."""
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode("utf-8", "surrogateescape"))
    assert default_budget(tmp_path) == expected


def test_this_machine_has_memory() -> None:
    """The real files can be read."""
    assert default_budget() >= LEAST_BUDGET
