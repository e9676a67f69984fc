"""A store in a file, for tests."""

from pathlib import Path
from typing import Any

from ff_proxy.model.usage import UsageCount, UsageKey
from ff_proxy.store.sqlite import SqliteStore
from ff_proxy.telemetry import null_telemetry
from tests.support.clock import FakeClock
from tests.support.configs import ENVIRONMENT


def opened(directory: Path, epoch: str = "one", clock: FakeClock | None = None, **sizes: Any) -> SqliteStore:
    """A store on ``directory``."""
    return SqliteStore(directory, epoch, clock or FakeClock(), null_telemetry(), name="ff-proxy", **sizes)


def usage(flag_name: str, count: int = 1) -> UsageCount:
    """A count of one flag."""
    return UsageCount(
        UsageKey(ENVIRONMENT, "FFMETRICS", (("featureIdentifier", f'"{flag_name}"'),)), count, 5
    )
