"""How often and how patiently: every interval of this room in one record, and time to keep them by."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random

import msgspec

from ff_proxy.model.backoff import Backoff, jittered
from ff_proxy.model.clock import Clock


class Intervals(msgspec.Struct, frozen=True):
    """The intervals, in seconds, that an environment is kept in step by.

    ``stream`` is the option ``flag-stream-enabled``; ``poll``, ``keys`` and ``targets`` are the options
    ``flag-poll-interval``, ``api-key-refresh-interval`` and ``target-poll-duration`` (0: never).
    ``idle`` seconds of silence end a stream. ``refused`` is the time between tries with something that SaaS
    definitely refused. ``resync`` is the time after which a connected environment is fetched anyway, since
    SaaS's own fan-out may lose an event. ``grace`` is how long the first fetch waits for the stream. After
    ``relief`` seconds in which SaaS has not answered, another process may try instead.
    """

    stream: bool = True
    poll: float = 60.0
    keys: float = 60.0
    targets: float = 0.0
    idle: float = 45.0
    refused: float = 60.0
    resync: float = 900.0
    grace: float = 1.0
    relief: float = 7.0


@dataclass(frozen=True, slots=True)
class Schedule:
    """A clock, a way to wait (``asyncio.sleep``, or a test's clock), and chance."""

    clock: Clock
    sleep: Callable[[float], Awaitable[None]]
    random: Random

    async def rest(self, interval: float) -> None:
        """Wait about ``interval`` seconds: what a hundred environments do must not march in step."""
        await self.sleep(jittered(self.random, interval))

    def backoff(self) -> Backoff:
        """A new series of growing waits."""
        return Backoff(self.random)
