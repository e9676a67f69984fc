"""The health of a shared store and of the leaders of its environments, seen from one member."""

import asyncio
from collections.abc import Collection, Mapping
from typing import Final

from ff_proxy.errors import StoreError
from ff_proxy.model.clock import Clock
from ff_proxy.model.environment import UpstreamStatus
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.readiness import Readiness
from ff_proxy.store.protocol import StatusStore

_POLL_SECONDS: Final = 2.0
_ANSWER_SECONDS: Final = 2.0
# With many environments the poll is slower: at most this many per second.
_PER_SECOND: Final = 100


class FleetHealth:
    """The service that polls the leaders' reports every two seconds.

    A member without its store, or whose environments no member synchronises, serves on and reports it
    (spec/behaviour#readiness).
    """

    name = "fleet health"

    def __init__(self, statuses: StatusStore, clock: Clock) -> None:
        self.ready = asyncio.Event()
        self._statuses = statuses
        self._clock = clock
        self._last: Mapping[EnvironmentId, UpstreamStatus] = {}
        self._error = ""

    async def run(self) -> None:
        """Poll until cancelled; ``ready`` after the first poll, whatever its result."""
        while True:
            await self.poll()
            self.ready.set()
            await self._clock.sleep(max(_POLL_SECONDS, len(self._last) / _PER_SECOND))

    async def poll(self) -> None:
        """Poll once."""
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                self._last = await self._statuses.statuses()
        except (StoreError, TimeoutError) as error:
            self._error = str(error) or "no answer in time"
        else:
            self._error = ""

    def merge_into(self, readiness: Readiness, followed: Collection[EnvironmentId]) -> Readiness:
        """Add problems of the store and of the environments ``followed``, which others lead.

        While the store is down, the last reports are omitted, since they may be outdated.
        """
        if not self.ready.is_set():
            return readiness
        if self._error:
            found = [f"serving from memory, the store is not reachable: {self._error}"]
        else:
            unknown = UpstreamStatus(trouble="no member has connected to Harness yet")
            problems = {name: self._last.get(name, unknown).trouble for name in sorted(followed)}
            found = [f"environment {name}: {problem}" for name, problem in problems.items() if problem]
        return readiness.with_degraded(*found)
