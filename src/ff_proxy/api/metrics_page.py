"""``GET /metrics``: the metrics as Prometheus text."""

import asyncio
import gzip
from collections.abc import Callable
from typing import Final

from ff_proxy.http.negotiate import accepts_gzip
from ff_proxy.http.request import Request
from ff_proxy.http.response import NO_STORE, Response
from ff_proxy.telemetry.exposition import CONTENT_TYPE

METRICS_HEADERS: Final = (b"accept-encoding",)
"""The fields that its answers depend on."""

_TYPE: Final = (b"Content-Type", CONTENT_TYPE)
_GZIP_LEVEL: Final = 1


class MetricsPage:
    """Renders the metrics; requests that come meanwhile get the same text.

    Args:
        exposition: renders the Prometheus text; called in a thread.
        fold: brings the metrics up to date first.
    """

    def __init__(self, exposition: Callable[[], bytes], fold: Callable[[], object] = lambda: None) -> None:
        self._exposition = exposition
        self._fold = fold
        self._rendering: asyncio.Future[bytes] | None = None

    async def __call__(self, request: Request) -> Response:
        """See ``Handler``."""
        if self._rendering is None or self._rendering.done():
            self._fold()
            # A thousand environments take a second, and several processes more.
            self._rendering = asyncio.ensure_future(asyncio.to_thread(self._exposition))
            self._rendering.add_done_callback(_retrieve)
        text = await asyncio.shield(self._rendering)
        packed = accepts_gzip(request.headers.get(METRICS_HEADERS[0]))
        body = await asyncio.to_thread(gzip.compress, text, _GZIP_LEVEL) if packed else text
        coding = ((b"Content-Encoding", b"gzip"),) if packed else ()
        fields = (_TYPE, (b"Content-Length", b"%d" % len(body)), *coding, NO_STORE)
        return Response(200, fields, body, shared=not packed)


def _retrieve(rendering: asyncio.Future[bytes]) -> None:
    """A failure is the answer to those who still wait; it is no news if all have left."""
    if not rendering.cancelled():
        rendering.exception()
