"""The way in, which is shut until the secret is known that signs tokens (PRODUCT §3, §6.1)."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import NoReturn, Protocol, final

import msgspec

from ff_proxy.errors import RequestError
from ff_proxy.model.environment import EnvironmentInfo
from ff_proxy.model.keys import EnvironmentId, SdkKeyHash, Secret
from ff_proxy.model.readiness import Readiness
from ff_proxy.snapshots.snapshot import Snapshot
from ff_proxy.web.access import Access, StreamGrant, stream_key
from ff_proxy.web.problems import BAD_GATEWAY, RETRY_SOON, UNAVAILABLE
from ff_proxy.web.tokens import AWAITED, Tokens


class Issuer(Protocol):
    """Makes tokens."""

    def issue(self, info: EnvironmentInfo, key: SdkKeyHash) -> str:
        """A token of the environment for ``key``; raises ``RequestError`` 503 while none can be made."""
        ...


@final
class Shut:
    """Access and issuer before the secret is known: no token can be made, or told from a forgery."""

    def read(self, fields: Mapping[bytes, bytes], environment: EnvironmentId) -> NoReturn:
        """See ``Access``: 502, after which SDKs try again."""
        del fields, environment
        raise RequestError(BAD_GATEWAY, AWAITED, retry_after=RETRY_SOON)

    def post(self, fields: Mapping[bytes, bytes], environment: EnvironmentId) -> NoReturn:
        """See ``Access``: 503; whose usage it is cannot be told."""
        del fields, environment
        raise RequestError(UNAVAILABLE, AWAITED, retry_after=RETRY_SOON)

    def stream(self, fields: Mapping[bytes, bytes]) -> NoReturn:
        """See ``Access``: 400 or 503."""
        stream_key(fields)
        raise RequestError(UNAVAILABLE, AWAITED, retry_after=RETRY_SOON)

    def issue(self, info: EnvironmentInfo, key: SdkKeyHash) -> NoReturn:
        """See ``Issuer``: 503."""
        del info, key
        raise RequestError(UNAVAILABLE, AWAITED, retry_after=RETRY_SOON)


@final
class Entrance:
    """Access and issuer that are ``Shut`` at first; a service that opens them and keeps them open.

    Args:
        tokens: adopt the secret when it is known.
        awaited: gives the secret, however long that takes; ``None`` if there is none but derived ones.
        access: the access that goes with ``tokens``.
        at_once: what can be derived is enough to begin with.
    """

    name = "entrance"

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
        shut = Shut()
        self._access: Access = shut
        self._issuer: Issuer = shut
        if at_once:
            self._open()

    async def run(self) -> None:
        """Wait for the secret, open, and stay until cancelled."""
        if self._awaited is not None:
            await self.open()
        await asyncio.get_running_loop().create_future()

    async def open(self) -> None:
        """Wait for the secret and open."""
        if self._awaited is not None:
            self._tokens.adopt(await self._awaited())
            self._awaited = None
        self._open()

    def _open(self) -> None:
        self._issuer = self._tokens
        self._access = self._opened
        self.ready.set()

    def read(self, fields: Mapping[bytes, bytes], environment: EnvironmentId) -> Snapshot:
        """See ``Access``."""
        return self._access.read(fields, environment)

    def post(self, fields: Mapping[bytes, bytes], environment: EnvironmentId) -> None:
        """See ``Access``."""
        self._access.post(fields, environment)

    def stream(self, fields: Mapping[bytes, bytes]) -> StreamGrant:
        """See ``Access``."""
        return self._access.stream(fields)

    def issue(self, info: EnvironmentInfo, key: SdkKeyHash) -> str:
        """See ``Issuer``."""
        return self._issuer.issue(info, key)

    def merge_into(self, readiness: Readiness) -> Readiness:
        """``readiness``, and that the way in is shut if it is, or open with derived secrets only."""
        if not self.ready.is_set():
            return msgspec.structs.replace(readiness, pending=(*readiness.pending, AWAITED))
        if self._awaited is not None:
            return msgspec.structs.replace(readiness, degraded=(*readiness.degraded, AWAITED))
        return readiness
