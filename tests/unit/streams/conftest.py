"""A hub on a clock and transports that the tests own."""

import random
from collections.abc import AsyncIterator

import pytest

from ff_proxy.streams.hub import Hub
from ff_proxy.streams.list_reads import ListReads
from ff_proxy.telemetry import Telemetry, null_telemetry
from tests.support.clock import FakeClock
from tests.support.configs import flag
from tests.support.streams import FakeSnapshots, fake_snapshots, running


@pytest.fixture
def snapshots() -> FakeSnapshots:
    """An environment with two flags."""
    return fake_snapshots(flag("a"), flag("b"))


@pytest.fixture
def clock() -> FakeClock:
    """Time stands still unless a test moves it."""
    return FakeClock()


@pytest.fixture
def telemetry() -> Telemetry:
    """Figures that a test can read."""
    return null_telemetry()


@pytest.fixture
def lists() -> ListReads:
    """What SDKs have fetched."""
    return ListReads(100_000)


@pytest.fixture
async def hub(
    snapshots: FakeSnapshots, lists: ListReads, clock: FakeClock, telemetry: Telemetry
) -> AsyncIterator[Hub]:
    """The hub, running."""
    hub = Hub(snapshots, lists, clock, telemetry, random.Random(1))
    async with running(hub.run):
        await clock.settle()
        yield hub
