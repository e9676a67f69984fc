"""What a long fetch waits for, said every few seconds: that it lives, and what holds it up."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Final

from ff_proxy.errors import UpstreamError
from ff_proxy.telemetry import Logger
from ff_proxy.upstream.intervals import Schedule

# After a second people wonder; then a line now and then is enough.
_FIRST_SECONDS: Final = 1.0
_EVERY_SECONDS: Final = 5.0
_MOST_NAMED: Final = 3


@dataclass(slots=True)
class Wait:
    """Something that is waited for: since when, which try it is, and why the last one failed."""

    what: str
    since: float
    attempt: int = 1
    error: str = ""

    def failed(self, error: UpstreamError) -> None:
        """A try failed, and there will be another."""
        self.attempt += 1
        self.error = str(error)


class FetchProgress:
    """Logs what has been waited for longest, as long as anything is."""

    def __init__(self, rhythm: Schedule, log: Logger) -> None:
        self._rhythm = rhythm
        self._log = log
        self._waits: dict[int, Wait] = {}
        self._done = 0

    @contextmanager
    def waiting(self, what: str) -> Iterator[Wait]:
        """While the context lasts, ``what`` is waited for."""
        wait = Wait(what, self._rhythm.clock.monotonic())
        self._waits[id(wait)] = wait
        try:
            yield wait
        finally:
            del self._waits[id(wait)]
            self._done += 1

    @asynccontextmanager
    async def told(self) -> AsyncIterator[None]:
        """While the context lasts, a line after a second, and every few seconds, says what is waited for."""
        telling = asyncio.create_task(self._tell())
        try:
            yield
        finally:
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)

    async def _tell(self) -> None:
        await self._rhythm.sleep(_FIRST_SECONDS)
        while True:
            self._tell_once()
            await self._rhythm.sleep(_EVERY_SECONDS)

    def _tell_once(self) -> None:
        waits = sorted(self._waits.values(), key=lambda wait: wait.since)
        if not waits:
            return
        say = self._log.warning if any(wait.error for wait in waits) else self._log.info
        say(
            "waiting for Harness",
            waits=[self._words(wait) for wait in waits[:_MOST_NAMED]],
            more=max(len(waits) - _MOST_NAMED, 0),
            done=self._done,
        )

    def _words(self, wait: Wait) -> str:
        seconds = self._rhythm.clock.monotonic() - wait.since
        said = f"{wait.what}: {seconds:.0f} s, try {wait.attempt}"
        return f"{said}; the last one: {wait.error}" if wait.error else said
