"""Every interval of synchronisation in one record, and the clock for them."""

from dataclasses import dataclass
from random import Random

import msgspec

from ff_proxy.model.backoff import Backoff, jittered
from ff_proxy.model.clock import Clock


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
