"""``GET /stream``: authorizes streams, and waits while their environment loads (spec/behaviour#endpoints)."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from ff_proxy.api.access import Access, Outdated, StreamGrant
from ff_proxy.api.ports import Freshness
from ff_proxy.errors import RequestError
from ff_proxy.http.handler import Handover
from ff_proxy.http.headers import Headers
from ff_proxy.http.request import Request
from ff_proxy.http.response import EVENT_STREAM, UNAVAILABLE
from ff_proxy.snapshots.registry import Announcement, SnapshotRegistry
from ff_proxy.streams.hub import Hub, StreamOpening

STREAM_HEADERS: Final = (b"authorization", b"api-key", b"harness-sdk-info", b"origin", b"user-agent")
"""The header fields that the response depends on."""

LOADING_SECONDS: Final = 8.0
"""How long an SDK waits for its response; .NET gives up after 10 s (spec/sdk-wire#trap-50)."""


class StreamRequests:
    """Hands connections to the hub.

    Args:
        access: authorizes streams.
        freshness: catches up with the store before a stream is refused.
        hub: takes over the connections.
        snapshots: announces when an environment has been loaded.
        loading: seconds to wait for an environment to load.
    """

    def __init__(
        self,
        access: Access,
        freshness: Freshness,
        hub: Hub,
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
        """Answer one request; raises ``RequestError`` 400, 401, 403 or 503, checked in this order."""
        try:
            return self._opened(self._access.stream(request.headers), request.headers)
        except RequestError as refusal:
            if isinstance(refusal, Outdated) or refusal.status == UNAVAILABLE:
                return self._later(request.headers, refusal)
            raise

    def retry_waiting(self) -> None:
        """Check waiting requests again: what they wait for may have happened."""
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
                        # Only a 503 can go away by waiting.
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
            self.retry_waiting()


def _is_client(headers: Headers) -> bool:
    """Whether it is a client SDK, which gets evaluations: it says so, or runs in a browser."""
    sdk_info = headers.get(b"harness-sdk-info") or b""
    return sdk_info.lower().split()[-1:] == [b"client"] or headers.get(b"origin") is not None


def _reads_raw(headers: Headers) -> bool:
    """Whether it is the Python SDK, which ignores the last chunk (spec/sdk-wire#trap-16)."""
    return (headers.get(b"user-agent") or b"").startswith(b"python-requests/")
