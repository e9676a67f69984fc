"""Which tests may run beside each other, and in which order, when several processes share them."""

from collections import defaultdict
from pathlib import PurePath
from typing import Final

import pytest

_WAITING: Final = ("integration", "fleet", "process", "fault", "deploy")
"""Folders whose tests mostly wait for other processes: begun early, they leave the CPU to the rest."""
_APART: Final = ("fleet", "process", "fault", "chaos")
"""Of those, the ones where a test has processes of its own, and takes seconds: each may run anywhere."""
_TOGETHER: Final = ("contract", "integration/sdk")
"""Folders whose modules share a fixture of the session: several Redis servers, the campaign of all SDKs."""


def distribute(items: list[pytest.Item]) -> None:
    """Put tests into groups of xdist, each of which runs in one process; what takes longest comes first.

    A group is a module, so that its fixtures are made once. A module of ``_APART`` whose tests share one says
    so itself, with ``pytest.mark.xdist_group``.
    """
    patience: dict[str, float] = defaultdict(float)
    order: dict[str, tuple[float, bool]] = {}
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(group(item.nodeid)))
    for item in items:
        patience[_group(item)] = max(patience[_group(item)], _patience(item))
        order[_group(item)] = (-patience[_group(item)], not _is_in(item.nodeid, _WAITING))
    items.sort(key=lambda item: order[_group(item)])


def group(nodeid: str) -> str:
    """The group of a test of that name, which has not chosen one."""
    for folder in _TOGETHER:
        if _is_in(nodeid, (folder,)):
            return folder
    return nodeid if _is_in(nodeid, _APART) else nodeid.partition("::")[0]


def _is_in(nodeid: str, folders: tuple[str, ...]) -> bool:
    path = PurePath(nodeid.partition("::")[0])
    return any(path.is_relative_to(PurePath("tests", folder)) for folder in folders)


def _group(item: pytest.Item) -> str:
    marker = item.get_closest_marker("xdist_group")
    assert marker is not None
    return str(marker.args[0])


def _patience(item: pytest.Item) -> float:
    """Seconds that a test may take, where it asks for more than the default: the best guess that there is."""
    marker = item.get_closest_marker("timeout")
    return float(marker.args[0]) if marker is not None else 0.0
