"""The way in, which is shut until the secret is known that signs tokens (PRODUCT §3, §6.1)."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, NoReturn, Protocol, final

import msgspec

from ff_proxy.errors import RequestError
from ff_proxy.model.environment import EnvironmentInfo
from ff_proxy.model.keys import EnvironmentId, SdkKeyHash
from ff_proxy.model.readiness import Readiness
from ff_proxy.snapshots.snapshot import Snapshot
from ff_proxy.web.access import Access, StreamGrant, stream_key
from ff_proxy.web.problems import BAD_GATEWAY, RETRY_SOON, UNAVAILABLE
from ff_proxy.web.tokens import Tokens

_AWAITED: Final = "the secret that signs tokens is not read from the store yet"


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
        raise RequestError(BAD_GATEWAY, _AWAITED, retry_after=RETRY_SOON)

    def post(self, fields: Mapping[bytes, bytes], environment: EnvironmentId) -> NoReturn:
        """See ``Access``: 503; whose usage it is cannot be told."""
        del fields, environment
        raise RequestError(UNAVAILABLE, _AWAITED, retry_after=RETRY_SOON)

    def stream(self, fields: Mapping[bytes, bytes]) -> NoReturn:
        """See ``Access``: 400 or 503."""
        stream_key(fields)
        raise RequestError(UNAVAILABLE, _AWAITED, retry_after=RETRY_SOON)

    def issue(self, info: EnvironmentInfo, key: SdkKeyHash) -> NoReturn:
        """See ``Issuer``: 503."""
        del info, key
        raise RequestError(UNAVAILABLE, _AWAITED, retry_after=RETRY_SOON)


@final
class Entrance:
    """Access and issuer that are ``Shut`` at first; a service that opens them and keeps them open.

    Args:
        awaited: gives the tokens once their secret is known, however long that takes.
        opened: the access that goes with them.
    """

    name = "entrance"

    def __init__(self, awaited: Callable[[], Awaitable[Tokens]], opened: Callable[[Tokens], Access]) -> None:
        self.ready = asyncio.Event()
        self._awaited = awaited
        self._opened = opened
        shut = Shut()
        self._access: Access = shut
        self._issuer: Issuer = shut

    async def run(self) -> None:
        """Wait for the secret, open, and stay until cancelled."""
        if not self.ready.is_set():
            await self.open()
        await asyncio.get_running_loop().create_future()

    async def open(self) -> None:
        """Wait for the secret and open."""
        tokens = await self._awaited()
        self._issuer = tokens
        self._access = self._opened(tokens)
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
        """``readiness``, and that the way in is shut if it is."""
        if self.ready.is_set():
            return readiness
        return msgspec.structs.replace(readiness, pending=(*readiness.pending, _AWAITED))
