"""What all parts of the synchronisation with Harness use."""

from dataclasses import dataclass, field
from typing import Final

from ff_proxy.aio.limiter import PatientLimiter
from ff_proxy.store.protocol import ConfigStore, TargetStore
from ff_proxy.telemetry import Telemetry
from ff_proxy.upstream.admin import AdminApi
from ff_proxy.upstream.client import ClientApi
from ff_proxy.upstream.intervals import Schedule, SyncIntervals

# How many environments are fully fetched, and listed, at the same time.
_FETCHING: Final = 16
_LISTING: Final = 4


@dataclass(slots=True, kw_only=True)
class UpstreamContext:
    """The two APIs, the store that is written, and when and how often that happens.

    ``fetching`` and ``listing`` limit how many environments are fully fetched, or listed through the admin
    API, at the same time.
    """

    api: ClientApi
    admin: AdminApi
    configs: ConfigStore
    targets: TargetStore
    telemetry: Telemetry
    schedule: Schedule
    intervals: SyncIntervals
    fetching: PatientLimiter = field(init=False)
    listing: PatientLimiter = field(init=False)

    def __post_init__(self) -> None:
        """Make the limiters."""
        self.fetching = PatientLimiter(_FETCHING, self.schedule.clock)
        self.listing = PatientLimiter(_LISTING, self.schedule.clock)
