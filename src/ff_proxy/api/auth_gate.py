"""Refuses requests until the secret that signs tokens is known (spec/behaviour#token-secrets)."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import NoReturn, Protocol, final

import msgspec

from ff_proxy.api.access import Access, StreamGrant, stream_key
from ff_proxy.api.tokens import AWAITED, Tokens
from ff_proxy.errors import RequestError
from ff_proxy.http.headers import Headers
from ff_proxy.http.response import BAD_GATEWAY, RETRY_SOON, UNAVAILABLE
from ff_proxy.model.environment import EnvironmentInfo
from ff_proxy.model.keys import EnvironmentId, SdkKeyHash, Secret
from ff_proxy.model.readiness import Readiness
from ff_proxy.snapshots.snapshot import Snapshot


class Issuer(Protocol):
    """Issues tokens."""

    def issue(self, info: EnvironmentInfo, key: SdkKeyHash) -> str:
        """A token for ``key`` in the environment; raises ``RequestError`` 503 while no secret is known."""
        ...


@final
class ClosedGate:
    """The access and issuer used before the secret is known: refuses everything."""

    def read(self, headers: Headers, environment: EnvironmentId, *, unverified: int) -> NoReturn:
        """See ``Access``: 502, after which SDKs retry."""
        del headers, environment, unverified
        raise RequestError(BAD_GATEWAY, AWAITED, retry_after=RETRY_SOON)

    def post(self, headers: Headers, environment: EnvironmentId) -> NoReturn:
        """See ``Access``: 503, since the token cannot be verified."""
        del headers, environment
        raise RequestError(UNAVAILABLE, AWAITED, retry_after=RETRY_SOON)

    def stream(self, headers: Headers) -> NoReturn:
        """See ``Access``: 400 or 503."""
        stream_key(headers)
        raise RequestError(UNAVAILABLE, AWAITED, retry_after=RETRY_SOON)

    def issue(self, info: EnvironmentInfo, key: SdkKeyHash) -> NoReturn:
        """See ``Issuer``: 503."""
        del info, key
        raise RequestError(UNAVAILABLE, AWAITED, retry_after=RETRY_SOON)


@final
class AuthGate:
    """A service, access and issuer: acts as ``ClosedGate`` until the secret is known, then opens for good.

    Args:
        tokens: gets the secret when it is known.
        awaited: waits for the secret, without a time limit; ``None`` if there are only derived ones.
        access: the access to use once open.
        at_once: open immediately with derived secrets.
    """

    name = "auth gate"

    def __init__(
        self,
        tokens: Tokens,
        awaited: Callable[[], Awaitable[Secret]] | None,
        access: Access,
        *,
        at_once: bool,
    ) -> None:
        self.ready = asyncio.Event()
        self._tokens = tokens
        self._awaited = awaited
        self._opened = access
        closed = ClosedGate()
        self._access: Access = closed
        self._issuer: Issuer = closed
        self._listeners: list[Callable[[], None]] = []
        if at_once:
            self._open()

    async def run(self) -> None:
        """Wait for the secret, open, then run until cancelled."""
        if self._awaited is not None:
            await self.open()
        await asyncio.get_running_loop().create_future()

    async def open(self) -> None:
        """Wait for the secret and open."""
        if self._awaited is not None:
            self._tokens.adopt(await self._awaited())
            self._awaited = None
        self._open()

    def listen(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` whenever tokens that could not be verified before may verify now."""
        self._listeners.append(listener)

    def _open(self) -> None:
        self._issuer = self._tokens
        self._access = self._opened
        self.ready.set()
        for listener in self._listeners:
            listener()

    def read(self, headers: Headers, environment: EnvironmentId, *, unverified: int) -> Snapshot:
        """See ``Access``."""
        return self._access.read(headers, environment, unverified=unverified)

    def post(self, headers: Headers, environment: EnvironmentId) -> None:
        """See ``Access``."""
        self._access.post(headers, environment)

    def stream(self, headers: Headers) -> StreamGrant:
        """See ``Access``."""
        return self._access.stream(headers)

    def issue(self, info: EnvironmentInfo, key: SdkKeyHash) -> str:
        """See ``Issuer``."""
        return self._issuer.issue(info, key)

    def merge_into(self, readiness: Readiness) -> Readiness:
        """Add a missing secret to ``readiness``: as ``degraded`` if derived ones sign, else ``pending``."""
        if not self.ready.is_set():
            return msgspec.structs.replace(readiness, pending=(*readiness.pending, AWAITED))
        if self._awaited is not None:
            return readiness.with_degraded(AWAITED)
        return readiness
