"""Which stores the contract suites run over: one entry per adapter, and every suite runs over it."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Final

import pytest

from ff_proxy.store.memory import MemoryStore
from ff_proxy.store.protocol import Store
from ff_proxy.store.sqlite import SqliteStore
from ff_proxy.telemetry import null_telemetry
from tests.support.clock import FakeClock

Opener = Callable[..., AbstractAsyncContextManager[Store]]
"""Opens a store: ``opener(directory, usage_capacity=…, registration_capacity=…)``, sizes as in production."""


def _memory(_: Path, **sizes: int) -> AbstractAsyncContextManager[Store]:
    return MemoryStore("epoch-1", FakeClock(), **sizes)


def _sqlite(directory: Path, **sizes: int) -> AbstractAsyncContextManager[Store]:
    return SqliteStore(directory, "epoch-1", FakeClock(), null_telemetry(), name="contract", **sizes)


OPENERS: Final[dict[str, Opener]] = {"memory": _memory, "sqlite": _sqlite}
"""Every adapter by name. Adding one here is all it takes."""


@pytest.fixture(params=sorted(OPENERS))
def stores(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Callable[..., AbstractAsyncContextManager[Store]]:
    """A function that opens one fresh store of the adapter under test; keywords limit its queues."""
    opener = OPENERS[request.param]

    def open_store(**sizes: int) -> AbstractAsyncContextManager[Store]:
        return opener(tmp_path, **sizes)

    return open_store


@pytest.fixture
async def store(stores: Callable[..., AbstractAsyncContextManager[Store]]) -> AsyncIterator[Store]:
    """One fresh store of the adapter under test, with production sizes."""
    async with stores() as opened:
        yield opened
