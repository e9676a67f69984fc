"""The fleet's signing secret, and what to do when there are two."""

from collections.abc import Collection
from typing import Final

from ff_proxy.model.keys import Secret
from ff_proxy.store.redis.connection import Connection
from ff_proxy.store.redis.keys import Keys

_MOST_OTHERS: Final = 8


class RedisSecrets:
    """One text for the whole fleet; what this process was given once is what it knows.

    A member that starts on an emptied Redis before the others have noticed makes up a secret of its own. No
    SDK asks for a new token, so neither may lapse: every member tells which secret it signs with.
    """

    def __init__(self, connection: Connection, keys: Keys) -> None:
        self._connection = connection
        self._keys = keys
        self._known: Secret | None = None
        self._others: frozenset[Secret] = frozenset()

    def others(self) -> Collection[Secret]:
        """What other members were seen to sign with, if not with the same; at most ``_MOST_OTHERS``."""
        return self._others

    async def auth_secret(self, candidate: Secret) -> Secret:
        """See ``SecretStore``."""
        await self._connection.do("SET", self._keys.secret, candidate.reveal(), "NX")
        stored = await self._connection.do("GET", self._keys.secret)
        # Emptied in between: whoever looks next puts this one there.
        self._known = candidate if stored is None else Secret(stored.decode())
        return self._known

    async def put_back(self) -> None:
        """Into an emptied Redis: the secret that tokens are signed with, unless another member was first."""
        if self._known is None:
            return
        own = self._known.reveal()
        await self._connection.do("SET", self._keys.secret, own, "NX")
        await self._connection.do("SADD", self._keys.secrets, own)
        told = await self._connection.do("SRANDMEMBER", self._keys.secrets, _MOST_OTHERS + 1)
        found = {Secret(text.decode()) for text in told} - {self._known}
        if not found <= self._others:
            self._others = frozenset([*found, *self._others][:_MOST_OTHERS])
