"""Server-sent events that make open pages refresh, for a limited number of pages."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from starlette.responses import PlainTextResponse, Response, StreamingResponse

EVERY_SECONDS: Final = 5.0
_MOST: Final = 16
_PAUSE_SECONDS: Final = 0.5


class Live:
    """The event streams of open pages: an event after every change, and one every few seconds."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Event] = set()
        self._closed = False

    def notify(self) -> None:
        """Send an event to all pages."""
        for one in self._waiting:
            one.set()

    def close(self) -> None:
        """End all streams."""
        self._closed = True
        self.notify()

    def response(self) -> Response:
        """An event stream, or 503 if too many pages are open."""
        if len(self._waiting) >= _MOST:
            return PlainTextResponse("too many pages are open\n", 503, {"Retry-After": "30"})
        changed = asyncio.Event()
        self._waiting.add(changed)
        return StreamingResponse(
            self._events(changed), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
        )

    async def _events(self, changed: asyncio.Event) -> AsyncIterator[str]:
        try:
            yield "retry: 5000\n\n"
            while not self._closed:
                try:
                    await asyncio.wait_for(changed.wait(), EVERY_SECONDS)
                    await asyncio.sleep(_PAUSE_SECONDS)  # combine many changes into one event
                except TimeoutError:
                    pass
                changed.clear()
                yield "event: look\ndata: {}\n\n"
        finally:
            self._waiting.discard(changed)
