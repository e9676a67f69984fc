"""Which tests may run beside each other, and in which order, when several processes share them."""

from collections import defaultdict
from functools import cache
from pathlib import PurePath
from typing import Final, final

import pytest
from xdist.scheduler import LoadScopeScheduling

_WAITING: Final = ("integration", "fleet", "process", "fault", "deploy")
"""Folders whose tests mostly wait for other processes: begun early, they leave the CPU to the rest."""
_APART: Final = ("fleet", "process", "fault", "chaos")
"""Of those, the ones where a test has processes of its own, and takes seconds: each may run anywhere."""
_TOGETHER: Final = ("contract", "integration/sdk", "fleet/test_fleet.py", "process/test_restarts.py")
"""What shares a fixture: several Redis servers, the campaign of all SDKs, one fleet, all restarts."""


@final
class GroupScheduling(LoadScopeScheduling):  # type: ignore[misc]  # (xdist has no types)
    """One process runs all of a group."""

    def _split_scope(self, nodeid: str) -> str:
        return group(nodeid)


def distribute(items: list[pytest.Item]) -> None:
    """Sort the groups: what takes longest comes first, and of the rest what waits for other processes."""
    patience: dict[str, float] = defaultdict(float)
    order: dict[str, tuple[float, bool]] = {}
    for item in items:
        name = group(item.nodeid)
        patience[name] = max(patience[name], _patience(item))
        order[name] = (-patience[name], not _is_in(item.nodeid.partition("::")[0], _WAITING))
    items.sort(key=lambda item: order[group(item.nodeid)])


def group(nodeid: str) -> str:
    """The group of the test of that name: its module, so that its fixtures are made once."""
    module = nodeid.partition("::")[0]
    for shared in _TOGETHER:
        if _is_in(module, (shared,)):
            return shared
    return nodeid if _is_in(module, _APART) else module


@cache
def _is_in(module: str, folders: tuple[str, ...]) -> bool:
    path = PurePath(module)
    return any(path.is_relative_to(PurePath("tests", folder)) for folder in folders)


def _patience(item: pytest.Item) -> float:
    """Seconds that a test may take, where it asks for more than the default: the best guess that there is."""
    marker = item.get_closest_marker("timeout")
    return float(marker.args[0]) if marker is not None else 0.0
