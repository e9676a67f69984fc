"""Who we are to SaaS: sessions, the keys of each environment, and a fresh token when one stops working."""

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
"""Trades a key for a session; raises ``UpstreamError``."""

_UNAUTHORISED = frozenset({401, 403})


@dataclass(frozen=True, slots=True)
class Session:
    """A key that SaaS accepted, with the token it gave and what the token says."""

    key: SdkKey
    environment: EnvironmentInfo
    token: Secret = field(repr=False)


class Credentials:
    """The configured keys of one environment, tried in turn, and the session in use.

    Args:
        first: the session that made the environment known.
        authenticate: asks SaaS.
    """

    def __init__(self, first: Session, authenticate: Authenticate) -> None:
        self._authenticate = authenticate
        self._session = first
        self._accepted: dict[SdkKey, bool] = {first.key: True}
        self._renewing = asyncio.Lock()

    @property
    def environment(self) -> EnvironmentInfo:
        """The environment as the newest token describes it."""
        return self._session.environment

    @property
    def session(self) -> Session:
        """The session in use; its token may have stopped working."""
        return self._session

    @property
    def accepted(self) -> frozenset[SdkKey]:
        """The keys that SaaS accepted when they were last tried."""
        return frozenset(key for key, accepted in self._accepted.items() if accepted)

    def add(self, key: SdkKey) -> None:
        """One more configured key that SaaS gave a token of this environment for."""
        self._accepted[key] = True

    async def renew(self, stale: Session) -> Session:
        """A session newer than ``stale``: whoever comes first asks SaaS, the others share the answer.

        Raises:
            UpstreamRefused: SaaS accepts none of the keys for this environment.
            UpstreamError: no key was accepted, and not every one definitely refused.
        """
        async with self._renewing:
            if self._session is not stale:
                return self._session
            refusals: list[UpstreamRefused] = []
            for key in self._in_turn(stale.key):
                try:
                    self._session = await self._ask(key)
                except UpstreamRefused as refused:
                    self._accepted[key] = False
                    refusals.append(refused)
                else:
                    return self._session
            raise refusals[0]

    async def verify(self, key: SdkKey) -> bool:
        """Whether SaaS accepts ``key`` for this environment now; ``UpstreamError`` if it cannot say."""
        try:
            await self._ask(key)
        except UpstreamRefused:
            self._accepted[key] = False
            return False
        return True

    async def call(self, ask: Callable[[Session], Awaitable[Answer]]) -> Answer:
        """What ``ask`` answers, with a fresh token if the one in use is refused; raises ``UpstreamError``."""
        session = self._session
        try:
            return await ask(session)
        except UpstreamRefused as refused:
            if refused.status not in _UNAUTHORISED:
                raise
            return await ask(await self.renew(session))

    async def _ask(self, key: SdkKey) -> Session:
        session = await self._authenticate(key, None)
        if session.environment.id != self.environment.id:
            # A key of a new environment is for whoever configured it; this one has lost it.
            raise UpstreamRefused(f"key {key.masked} now belongs to another environment", status=403)
        self._accepted[key] = True
        return session

    def _in_turn(self, last: SdkKey) -> list[SdkKey]:
        keys = list(self._accepted)
        after = keys.index(last) if last in keys else 0
        return keys[after:] + keys[:after]


class EnvironmentDirectory:
    """The environments that SaaS let us into, by id."""

    def __init__(self) -> None:
        self._known: dict[EnvironmentId, Credentials] = {}

    def find(self, environment: EnvironmentId) -> Credentials | None:
        """The environment's credentials, if one of its configured keys was accepted."""
        return self._known.get(environment)

    def require(self, environment: EnvironmentId) -> Credentials:
        """The same, or ``UpstreamUnavailable``: its keys may be accepted later."""
        known = self._known.get(environment)
        if known is None:
            raise UpstreamUnavailable(f"environment {environment}: no configured key was accepted yet")
        return known

    def join(self, session: Session, authenticate: Authenticate) -> tuple[Credentials, bool]:
        """The environment's credentials with the session's key among them; ``True`` if they are new."""
        known = self._known.get(session.environment.id)
        if known is not None:
            known.add(session.key)
            return known, False
        made = Credentials(session, authenticate)
        self._known[session.environment.id] = made
        return made, True
