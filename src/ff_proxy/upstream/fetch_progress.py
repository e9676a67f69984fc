"""Progress of a long fetch, logged every few seconds."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Final

from ff_proxy.errors import UpstreamError
from ff_proxy.telemetry import Logger
from ff_proxy.upstream.intervals import Schedule

# The first line comes soon, the others less often.
_FIRST_SECONDS: Final = 1.0
_EVERY_SECONDS: Final = 5.0
_MAX_NAMED: Final = 3


@dataclass(slots=True)
class Wait:
    """A running step: its start, the number of the try, and the error of the last one."""

    what: str
    since: float
    attempt: int = 1
    error: str = ""

    def failed(self, error: UpstreamError) -> None:
        """Record a failed try that will be repeated."""
        self.attempt += 1
        self.error = str(error)


class FetchProgress:
    """Logs the steps that have been running longest, and how many have ended, including failed ones."""

    def __init__(self, schedule: Schedule, log: Logger) -> None:
        self._schedule = schedule
        self._log = log
        self._waits: dict[int, Wait] = {}
        self._done = 0

    @contextmanager
    def waiting(self, what: str) -> Iterator[Wait]:
        """Report ``what`` as running during the context."""
        wait = Wait(what, self._schedule.clock.monotonic())
        self._waits[id(wait)] = wait
        try:
            yield wait
        finally:
            del self._waits[id(wait)]
            self._done += 1

    @asynccontextmanager
    async def logged(self) -> AsyncIterator[None]:
        """During the context, log what is being waited for: after a second, then every few seconds."""
        logging_task = asyncio.create_task(self._log_regularly())
        try:
            yield
        finally:
            logging_task.cancel()
            await asyncio.gather(logging_task, return_exceptions=True)

    async def _log_regularly(self) -> None:
        await self._schedule.clock.sleep(_FIRST_SECONDS)
        while True:
            self._log_once()
            await self._schedule.clock.sleep(_EVERY_SECONDS)

    def _log_once(self) -> None:
        waits = sorted(self._waits.values(), key=lambda wait: wait.since)
        if not waits:
            return
        say = self._log.warning if any(wait.error for wait in waits) else self._log.info
        say(
            "waiting for Harness",
            waits=[self._describe(wait) for wait in waits[:_MAX_NAMED]],
            more=max(len(waits) - _MAX_NAMED, 0),
            done=self._done,
        )

    def _describe(self, wait: Wait) -> str:
        seconds = self._schedule.clock.monotonic() - wait.since
        said = f"{wait.what}: {seconds:.0f} s, try {wait.attempt}"
        return f"{said}; the last one: {wait.error}" if wait.error else said
