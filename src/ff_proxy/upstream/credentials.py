"""Credentials for Harness: sessions, the keys of each environment, and token renewal."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Final, TypeVar

from ff_proxy.errors import UpstreamPending, UpstreamRefused, UpstreamUnavailable
from ff_proxy.model.environment import EnvironmentInfo
from ff_proxy.model.keys import EnvironmentId, SdkKey, Secret
from ff_proxy.model.target import Target

Answer = TypeVar("Answer")

_NO_KEY: Final = "no configured key was accepted yet"

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

    Attributes:
        session: the current session; its token may have expired.
    """

    def __init__(self, first: Session, authenticate: Authenticate) -> None:
        self._authenticate = authenticate
        self.session = first
        # The last session of each key, by which a key may have been refused since.
        self._sessions: dict[SdkKey, Session] = {first.key: first}
        self._refused: set[SdkKey] = set()
        self._renewing = asyncio.Lock()

    @property
    def environment(self) -> EnvironmentInfo:
        """The environment, from the newest token."""
        return self.session.environment

    @property
    def accepted(self) -> frozenset[SdkKey]:
        """The keys that Harness accepted at the last try."""
        return frozenset(self._sessions.keys() - self._refused)

    def add(self, session: Session) -> None:
        """Add a configured key of this environment, which Harness accepted with ``session``."""
        self._sessions[session.key] = session
        self._refused.discard(session.key)

    def remove(self, key: SdkKey) -> bool:
        """Remove a key that is no longer configured; ``False`` if it was the last one.

        If its session is in use, that of another key takes its place.
        """
        del self._sessions[key]
        self._refused.discard(key)
        if self.session.key == key and self._sessions:
            usable = [one for one in self._sessions if one not in self._refused] or list(self._sessions)
            self.session = self._sessions[usable[0]]
        return bool(self._sessions)

    def __contains__(self, key: SdkKey) -> bool:
        """Whether it is one of the environment's configured keys."""
        return key in self._sessions

    async def renew(self, stale: Session) -> Session:
        """Get a session newer than ``stale``; concurrent callers share one request.

        Raises:
            UpstreamRefused: Harness accepts none of the keys for this environment.
            UpstreamError: no key was accepted, but not all were definitely refused.
        """
        async with self._renewing:
            if self.session is not stale:
                return self.session
            refusals: list[UpstreamRefused] = []
            for key in self._keys_after(stale.key):
                try:
                    session = await self._authenticate_key(key)
                except UpstreamRefused as refused:
                    refusals.append(refused)
                else:
                    if key in self._sessions:  # it may have been removed meanwhile
                        self.session = session
                        return session
            if not refusals:
                raise UpstreamUnavailable(f"environment {self.environment.id}: {_NO_KEY}")
            raise refusals[0]

    async def verify(self, key: SdkKey) -> bool:
        """Whether Harness accepts ``key`` for this environment now; ``UpstreamError`` if unknown."""
        try:
            await self._authenticate_key(key)
        except UpstreamRefused:
            return False
        return True

    async def call(self, request: Callable[[Session], Awaitable[Answer]]) -> Answer:
        """Call ``request``, again with a new token if the current one is refused."""
        session = self.session
        try:
            return await request(session)
        except UpstreamRefused as refused:
            if not refused.rejects_credentials:
                raise
            return await request(await self.renew(session))

    async def _authenticate_key(self, key: SdkKey) -> Session:
        try:
            session = await self._authenticate(key, None)
        except UpstreamRefused:
            self._refuse(key)
            raise
        if session.environment.id != self.environment.id:
            # The key was moved to another environment, so this one has lost it.
            self._refuse(key)
            raise UpstreamRefused(f"key {key.masked} now belongs to another environment", status=403)
        if key in self._sessions:
            self.add(session)
        return session

    def _refuse(self, key: SdkKey) -> None:
        if key in self._sessions:
            self._refused.add(key)

    def _keys_after(self, last: SdkKey) -> list[SdkKey]:
        keys = list(self._sessions)
        after = keys.index(last) if last in keys else 0
        return keys[after:] + keys[:after]


@dataclass(frozen=True, slots=True)
class Removal:
    """A key was removed from ``environment``.

    ``last``: no other key is left; ``switched``: its session was in use, and another key's is used now.
    """

    environment: EnvironmentId
    last: bool
    switched: bool


class EnvironmentDirectory:
    """The authenticated environments, by id."""

    def __init__(self) -> None:
        self._known: dict[EnvironmentId, Credentials] = {}

    @property
    def names(self) -> AbstractSet[EnvironmentId]:
        """The environments, as a live set."""
        return self._known.keys()

    def find(self, environment: EnvironmentId) -> Credentials | None:
        """The environment's credentials, if Harness accepted one of its configured keys."""
        return self._known.get(environment)

    def require(self, environment: EnvironmentId) -> Credentials:
        """Like ``find``, but raises ``UpstreamPending``: its keys may be accepted later."""
        known = self._known.get(environment)
        if known is None:
            raise UpstreamPending(f"environment {environment}: {_NO_KEY}")
        return known

    def add_session(self, session: Session, authenticate: Authenticate) -> tuple[Credentials, bool]:
        """Add the session's key to its environment's credentials; ``True`` if they are new."""
        known = self._known.get(session.environment.id)
        if known is not None:
            known.add(session)
            return known, False
        created = Credentials(session, authenticate)
        self._known[session.environment.id] = created
        return created, True

    def remove(self, key: SdkKey) -> Sequence[Removal]:
        """Remove a key that is no longer configured from every environment that has it."""
        removals = []
        for name, credentials in list(self._known.items()):
            if key in credentials:
                session = credentials.session
                left = credentials.remove(key)
                if not left:
                    del self._known[name]
                removals.append(Removal(name, last=not left, switched=credentials.session is not session))
        return removals
