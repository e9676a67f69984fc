"""What all parts of the synchronisation with Harness use: APIs, store, intervals, time and limits."""

from dataclasses import dataclass, field
from random import Random
from typing import Final

import msgspec

from ff_proxy.aio.limiter import PatientLimiter
from ff_proxy.model.backoff import Backoff, jittered
from ff_proxy.model.clock import Clock
from ff_proxy.store.protocol import ConfigStore, TargetStore
from ff_proxy.telemetry import Telemetry
from ff_proxy.upstream.admin import AdminApi
from ff_proxy.upstream.client import ClientApi

# How many environments are fully fetched, and listed, at the same time.
_FETCHING: Final = 16
_LISTING: Final = 4


class SyncIntervals(msgspec.Struct, frozen=True):
    """The intervals of synchronisation, in seconds.

    ``stream`` is the option ``flag-stream-enabled``; ``poll``, ``keys`` and ``targets`` are the options
    ``flag-poll-interval``, ``api-key-refresh-interval`` and ``target-poll-duration`` (0: never). ``idle``
    seconds of silence end a stream. ``refused`` is the time between tries after a definite refusal.
    ``resync`` is the time after which a connected environment is fetched anyway, because Harness may lose an
    event. ``grace`` is how long the first fetch waits for the stream. After ``relief`` seconds without a
    response, another process may try instead.
    """

    stream: bool = True
    poll: float = 60.0
    keys: float = 60.0
    targets: float = 0.0
    idle: float = 45.0
    refused: float = 60.0
    resync: float = 900.0
    grace: float = 1.0
    relief: float = 6.0


@dataclass(frozen=True, slots=True)
class Schedule:
    """The clock, and the randomness that keeps environments from acting in unison."""

    clock: Clock
    random: Random

    async def sleep_jittered(self, interval: float, least: float = 0.0) -> None:
        """Sleep about ``interval`` seconds, and at least ``least``."""
        await self.clock.sleep(max(jittered(self.random, interval), least))

    def backoff(self) -> Backoff:
        """A new exponential backoff."""
        return Backoff(self.random)


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
