"""The fleet's signing secret, and the other secrets that members sign with."""

import asyncio
from collections.abc import Collection
from contextlib import suppress
from typing import Final

from ff_proxy.errors import StoreUnavailable
from ff_proxy.model.keys import EnvironmentId, Secret
from ff_proxy.store.redis.connection import Connection
from ff_proxy.store.redis.errors import translated
from ff_proxy.store.redis.keys import Keys, encoded
from ff_proxy.store.redis.replicated_set import ReplicatedSet

_MOST_OTHERS: Final = 8
# It is on one node of a Cluster, which may be away.
_ANSWER_SECONDS: Final = 1.0
_MOST_BOUND: Final = 10_000


class RedisSecrets:
    """One secret for the whole fleet; this process keeps the first one that it reads.

    A member that starts on an emptied Redis before the others have noticed may create a secret of its own,
    and one that starts without Redis signs with derived ones. SDKs do not ask for new tokens, so all of these
    must stay valid: every member announces the secrets that it signs with.
    """

    def __init__(self, connection: Connection, keys: Keys) -> None:
        self._connection = connection
        self._keys = keys
        self._announced = ReplicatedSet(connection, keys.secrets)
        self._announced_bound = ReplicatedSet(connection, keys.bound_secrets)
        self._known: Secret | None = None
        self._others: frozenset[Secret] = frozenset()
        self._derived: set[tuple[EnvironmentId, Secret]] = set()
        self._bound: dict[EnvironmentId, set[Secret]] = {}

    def others(self) -> Collection[Secret]:
        """Other secrets that members sign with; at most ``_MOST_OTHERS``."""
        return self._others

    def bound(self, environment: EnvironmentId) -> Collection[Secret]:
        """Secrets that are valid for ``environment`` only."""
        return self._bound.get(environment, ())

    def signed_with(self, environment: EnvironmentId, secret: Secret) -> None:
        """Announce that tokens of ``environment`` are signed with a secret of its own."""
        self._derived.add((environment, secret))

    async def stored(self) -> Secret | None:
        """The fleet's secret, if Redis has it.

        While its node of a Cluster is away, it is one of the announced ones.
        """
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                stored = await self._connection.do("GET", self._keys.secret)
        except (StoreUnavailable, TimeoutError):
            stored = min(map(encoded, await self._announced.texts(_MOST_OTHERS)), default=None)
            if stored is None:
                raise StoreUnavailable("Redis: the secret cannot be read now") from None
        if stored is None:
            return None
        with translated():
            self._known = Secret(stored.decode())
        return self._known

    async def auth_secret(self, candidate: Secret) -> Secret:
        """See ``SecretStore``; reads first, since a Redis that refuses writes may have it."""
        stored = await self.stored()
        if stored is None:
            await self._connection.do("SET", self._keys.secret, candidate.reveal(), "NX")
            stored = await self.stored()
        # Redis was emptied in between: ``restore`` writes this one.
        self._known = candidate if stored is None else stored
        return self._known

    async def restore(self) -> None:
        """Write the secret and the announcements again if Redis has lost them."""
        await self._announce_bound()
        if self._known is None:
            return
        own = self._known.reveal()
        await self._announced.add(own)
        with suppress(StoreUnavailable, TimeoutError):  # its node may be away; the next poll tries again
            async with asyncio.timeout(_ANSWER_SECONDS):
                await self._connection.do("SET", self._keys.secret, own, "NX")
        found = set(map(Secret, await self._announced.texts(_MOST_OTHERS + 1))) - {self._known}
        if not found <= self._others:
            self._others = frozenset([*found, *self._others][:_MOST_OTHERS])

    async def _announce_bound(self) -> None:
        if self._derived:
            own = [f"{secret.reveal()}\n{environment}" for environment, secret in self._derived]
            await self._announced_bound.add(*own)
        bound: dict[EnvironmentId, set[Secret]] = {}
        for text in await self._announced_bound.texts(_MOST_BOUND):
            secret, _, environment = text.partition("\n")
            bound.setdefault(EnvironmentId(environment), set()).add(Secret(secret))
        self._bound = bound
