"""Credentials for Harness: sessions, the keys of each environment, and token renewal."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from ff_proxy.errors import UpstreamRefused, UpstreamUnavailable
from ff_proxy.model.environment import EnvironmentInfo
from ff_proxy.model.keys import EnvironmentId, SdkKey, Secret
from ff_proxy.model.target import Target

Answer = TypeVar("Answer")

Authenticate = Callable[[SdkKey, Target | None], Awaitable["Session"]]
"""Exchanges a key for a session; raises ``UpstreamError``."""


@dataclass(frozen=True, slots=True)
class Session:
    """A key that Harness accepted, with its token and the token's claims."""

    key: SdkKey
    environment: EnvironmentInfo
    token: Secret = field(repr=False)


class Credentials:
    """The configured keys of one environment, tried in turn, and the session in use.

    Args:
        first: the first session of the environment.
        authenticate: exchanges keys for sessions.
    """

    def __init__(self, first: Session, authenticate: Authenticate) -> None:
        self._authenticate = authenticate
        self._session = first
        self._accepted: dict[SdkKey, bool] = {first.key: True}
        self._renewing = asyncio.Lock()

    @property
    def environment(self) -> EnvironmentInfo:
        """The environment, from the newest token."""
        return self._session.environment

    @property
    def session(self) -> Session:
        """The current session; its token may have expired."""
        return self._session

    @property
    def accepted(self) -> frozenset[SdkKey]:
        """The keys that Harness accepted at the last try."""
        return frozenset(key for key, accepted in self._accepted.items() if accepted)

    def add(self, key: SdkKey) -> None:
        """Add a configured key of this environment that Harness accepted."""
        self._accepted[key] = True

    async def renew(self, stale: Session) -> Session:
        """Get a session newer than ``stale``; concurrent callers share one request.

        Raises:
            UpstreamRefused: Harness accepts none of the keys for this environment.
            UpstreamError: no key was accepted, but not all were definitely refused.
        """
        async with self._renewing:
            if self._session is not stale:
                return self._session
            refusals: list[UpstreamRefused] = []
            for key in self._keys_after(stale.key):
                try:
                    self._session = await self._authenticate_key(key)
                except UpstreamRefused as refused:
                    self._accepted[key] = False
                    refusals.append(refused)
                else:
                    return self._session
            raise refusals[0]

    async def verify(self, key: SdkKey) -> bool:
        """Whether Harness accepts ``key`` for this environment now; ``UpstreamError`` if unknown."""
        try:
            await self._authenticate_key(key)
        except UpstreamRefused:
            self._accepted[key] = False
            return False
        return True

    async def call(self, request: Callable[[Session], Awaitable[Answer]]) -> Answer:
        """Call ``request``, again with a new token if the current one is refused."""
        session = self._session
        try:
            return await request(session)
        except UpstreamRefused as refused:
            if not refused.rejects_credentials:
                raise
            return await request(await self.renew(session))

    async def _authenticate_key(self, key: SdkKey) -> Session:
        session = await self._authenticate(key, None)
        if session.environment.id != self.environment.id:
            # The key was moved to another environment, so this one has lost it.
            raise UpstreamRefused(f"key {key.masked} now belongs to another environment", status=403)
        self._accepted[key] = True
        return session

    def _keys_after(self, last: SdkKey) -> list[SdkKey]:
        keys = list(self._accepted)
        after = keys.index(last) if last in keys else 0
        return keys[after:] + keys[:after]


class EnvironmentDirectory:
    """The authenticated environments, by id."""

    def __init__(self) -> None:
        self._known: dict[EnvironmentId, Credentials] = {}

    def find(self, environment: EnvironmentId) -> Credentials | None:
        """The environment's credentials, if Harness accepted one of its configured keys."""
        return self._known.get(environment)

    def require(self, environment: EnvironmentId) -> Credentials:
        """Like ``find``, but raises ``UpstreamUnavailable``: its keys may be accepted later."""
        known = self._known.get(environment)
        if known is None:
            raise UpstreamUnavailable(f"environment {environment}: no configured key was accepted yet")
        return known

    def add_session(self, session: Session, authenticate: Authenticate) -> tuple[Credentials, bool]:
        """Add the session's key to its environment's credentials; ``True`` if they are new."""
        known = self._known.get(session.environment.id)
        if known is not None:
            known.add(session.key)
            return known, False
        created = Credentials(session, authenticate)
        self._known[session.environment.id] = created
        return created, True
