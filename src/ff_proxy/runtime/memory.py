"""The default memory budget (spec/behaviour#byte-bounds)."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from ff_proxy.model.memory import LEAST_BUDGET

_QUARTER: Final = 4
_KIBIBYTE: Final = 1024
_ROOT: Final = Path("/")
_CGROUP_V2: Final = "0"


def default_budget(root: Path = _ROOT) -> int:
    """A quarter of the memory or of the container's limit in bytes, ``LEAST_BUDGET`` at least.

    ``root`` is where ``proc`` and ``sys`` are mounted. An unreadable limit is ignored.
    """
    limits = [*_machine(root), *_groups(root)]
    return max(min(limits, default=0) // _QUARTER, LEAST_BUDGET)


def _machine(root: Path) -> Iterator[int]:
    for line in _lines(root / "proc/meminfo"):
        name, _, rest = line.partition(":")
        if name == "MemTotal":
            yield from (kibibytes * _KIBIBYTE for kibibytes in _number(rest.partition("kB")[0]))


def _groups(root: Path) -> Iterator[int]:
    # Any group above ours may have a lower limit; a container sees its own group as the root.
    mount = root / "sys/fs/cgroup"
    for line in [*_lines(root / "proc/self/cgroup"), "0::/", "0:memory:/"]:
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        v1 = "memory" in controllers.split(",")
        if not v1 and number != _CGROUP_V2:
            continue
        top = mount / "memory" if v1 else mount
        file = "memory.limit_in_bytes" if v1 else "memory.max"
        inside = Path(path.strip().lstrip("/"))
        for group in (inside, *inside.parents):
            if ".." not in group.parts:
                yield from (limit for text in _lines(top / group / file) for limit in _number(text))


def _lines(path: Path) -> list[str]:
    with suppress(OSError, ValueError):
        return path.read_text(encoding="ascii").splitlines()
    return []


def _number(text: str) -> Iterator[int]:
    with suppress(ValueError):  # "max"
        yield int(text)
