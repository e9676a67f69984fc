"""``GET /metrics``: the metrics in the Prometheus text format."""

import asyncio
import gzip
from collections.abc import Callable
from typing import Final

from ff_proxy.aio.waits import retrieve
from ff_proxy.http.negotiate import accepts_gzip
from ff_proxy.http.request import Request
from ff_proxy.http.response import NO_STORE, Response
from ff_proxy.telemetry.exposition import CONTENT_TYPE

METRICS_HEADERS: Final = (b"accept-encoding",)
"""The header fields that its responses depend on."""

_TYPE: Final = (b"Content-Type", CONTENT_TYPE)
_GZIP_LEVEL: Final = 1


class MetricsPage:
    """Renders the metrics; concurrent requests share one rendering.

    Args:
        exposition: renders the text; called in a thread.
        fold: updates the metrics before rendering.
    """

    def __init__(self, exposition: Callable[[], bytes], fold: Callable[[], object] = lambda: None) -> None:
        self._exposition = exposition
        self._fold = fold
        self._rendering: asyncio.Future[bytes] | None = None

    async def __call__(self, request: Request) -> Response:
        """See ``Handler``."""
        if self._rendering is None or self._rendering.done():
            self._fold()
            # Rendering a thousand environments takes a second, several processes more.
            self._rendering = asyncio.ensure_future(asyncio.to_thread(self._exposition))
            self._rendering.add_done_callback(retrieve)
        text = await asyncio.shield(self._rendering)
        packed = accepts_gzip(request.headers.get(METRICS_HEADERS[0]))
        body = await asyncio.to_thread(gzip.compress, text, _GZIP_LEVEL) if packed else text
        coding = ((b"Content-Encoding", b"gzip"),) if packed else ()
        fields = (_TYPE, (b"Content-Length", b"%d" % len(body)), *coding, NO_STORE)
        return Response(200, fields, body, shared=not packed)
