"""The memory budget reaches every container: what clients can fill grows with it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ff_proxy.app.build import build
from ff_proxy.app.roles import ServingRole, Sync, Worker
from ff_proxy.app.shared_runtime import SharedRuntime
from ff_proxy.bounded import BoundedMap
from ff_proxy.http.buffer_budget import BufferBudget
from ff_proxy.model.memory import LEAST_BUDGET, MEBIBYTE, shares_of
from tests.support.offline import bakery
from tests.unit.app.test_build import ONLINE, REDIS, alone, children, close, context, runtime

__all__ = ["runtime"]

# What does not depend on clients, such as the counts of suppressed log lines, has a fixed size.
_FIXED = 2 * MEBIBYTE
_GROWTH = 8


@contextmanager
def role_of(kind: str, folder: Path, runtime: SharedRuntime) -> Iterator[ServingRole | Sync]:
    """A process of this kind."""
    match kind:
        case "online":
            yield alone(*ONLINE)
        case "online, Redis":
            yield alone(*ONLINE, *REDIS)
        case "offline":
            yield alone("-offline", "-config-dir", str(bakery(folder)), "-port", "0")
        case "replica":
            yield alone("-read-replica", *REDIS, "-port", "0")
        case _:
            roles = children(runtime, *ONLINE)
            found = roles[0 if kind == "sync" else 1]
            assert isinstance(found, Sync | Worker)
            yield found
            close(*roles)


@pytest.mark.parametrize("kind", ["online", "online, Redis", "offline", "replica", "sync", "worker"])
async def test_every_container_grows_with_the_budget(
    kind: str, tmp_path: Path, runtime: SharedRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And all together stay within it."""
    made: list[int] = []

    def record(container: type[BoundedMap[Any, Any] | BufferBudget]) -> None:
        original = container.__init__

        def init(self: Any, budget: int, *rest: Any, **named: Any) -> None:
            made.append(budget)
            original(self, budget, *rest, **named)

        monkeypatch.setattr(container, "__init__", init)

    record(BoundedMap)
    record(BufferBudget)
    budgets = []
    runtime.directory.mkdir()
    for factor in (1, _GROWTH):
        made.clear()
        with role_of(kind, tmp_path, runtime) as role:
            async with build(role, replace(context(), shares=shares_of(factor * LEAST_BUDGET))):
                budgets.append(tuple(made))
    small, large = budgets
    fixed = [least for least, grown in zip(small, large, strict=True) if grown < (_GROWTH - 1) * least]
    assert max(fixed, default=0) <= _FIXED
    assert sum(large) <= _GROWTH * LEAST_BUDGET + sum(fixed)
