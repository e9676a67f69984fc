"""``GET /stream``: who may listen, and waiting while an environment is loading (spec/behaviour#endpoints)."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from ff_proxy.api.access import Access, Outdated, StreamGrant
from ff_proxy.api.ports import Freshness, StreamHub
from ff_proxy.errors import RequestError
from ff_proxy.http.handler import Handover
from ff_proxy.http.headers import Headers
from ff_proxy.http.request import Request
from ff_proxy.http.response import EVENT_STREAM, UNAVAILABLE
from ff_proxy.snapshots.registry import Announcement, SnapshotRegistry
from ff_proxy.streams.hub import StreamOpening

STREAM_HEADERS: Final = (b"authorization", b"api-key", b"harness-sdk-info", b"origin", b"user-agent")
"""What the answer depends on."""

LOADING_SECONDS: Final = 8.0
"""An SDK is kept waiting for its response that long; .NET gives up after 10 s (spec/sdk-wire#trap-50)."""


class StreamRequests:
    """Hands connections to the hub.

    Args:
        access: who may listen.
        freshness: catches up before anybody is refused.
        hub: keeps streams.
        snapshots: tell when an environment has been loaded.
        loading: seconds to wait for that.
    """

    def __init__(
        self,
        access: Access,
        freshness: Freshness,
        hub: StreamHub,
        snapshots: SnapshotRegistry,
        *,
        loading: float = LOADING_SECONDS,
    ) -> None:
        self._access = access
        self._freshness = freshness
        self._hub = hub
        self._loading = loading
        self._waiting: set[asyncio.Event] = set()
        snapshots.listen(self._announced)

    def __call__(self, request: Request) -> Handover | Awaitable[Handover]:
        """The answer to one request; raises ``RequestError`` 400, 401, 403 or 503, in this order."""
        try:
            return self._opened(self._access.stream(request.headers), request.headers)
        except RequestError as refusal:
            if isinstance(refusal, Outdated) or refusal.status == UNAVAILABLE:
                return self._later(request.headers, refusal)
            raise

    def look_again(self) -> None:
        """Something has changed that requests may have been waiting for."""
        for event in self._waiting:
            event.set()

    async def _later(self, headers: Headers, refusal: RequestError) -> Handover:
        if isinstance(refusal, Outdated):
            await self._freshness.refresh(refusal.environment)
        changed = asyncio.Event()
        self._waiting.add(changed)
        try:
            async with asyncio.timeout(self._loading):
                while True:
                    changed.clear()
                    try:
                        return self._opened(self._access.stream(headers), headers)
                    except RequestError as present:
                        # Only what may be better in a moment is worth the wait.
                        if present.status != UNAVAILABLE:
                            raise
                        refusal = present
                    await changed.wait()
        except TimeoutError:
            raise refusal from None
        finally:
            self._waiting.discard(changed)

    def _opened(self, grant: StreamGrant, headers: Headers) -> Handover:
        opening = StreamOpening(
            grant.environment,
            grant.key,
            grant.token,
            grant.issued_at,
            client=_is_client(headers),
            raw=_reads_raw(headers),
        )
        return Handover(EVENT_STREAM, grant.environment, partial(self._take, opening))

    def _take(
        self, opening: StreamOpening, transport: asyncio.Transport, head: bytes, closed: Callable[[], None]
    ) -> None:
        self._hub.open_transport(transport, opening, head, closed)

    def _announced(self, announcement: Announcement) -> None:
        if announcement.previous is None:
            self.look_again()


def _is_client(headers: Headers) -> bool:
    """Whether an SDK gets evaluations: it says so, or is a page in a browser."""
    told = headers.get(b"harness-sdk-info") or b""
    return told.lower().split()[-1:] == [b"client"] or headers.get(b"origin") is not None


def _reads_raw(headers: Headers) -> bool:
    """Whether it is the Python SDK, which does not notice the last chunk (spec/sdk-wire#trap-16)."""
    return (headers.get(b"user-agent") or b"").startswith(b"python-requests/")
