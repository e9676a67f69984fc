"""The fleet's signing secret."""

from ff_proxy.model.keys import Secret
from ff_proxy.store.redis.connection import Connection
from ff_proxy.store.redis.keys import Keys


class RedisSecrets:
    """One text for the whole fleet; what this process was given once is what it knows."""

    def __init__(self, connection: Connection, keys: Keys) -> None:
        self._connection = connection
        self._keys = keys
        self._known: Secret | None = None

    async def auth_secret(self, candidate: Secret) -> Secret:
        """See ``SecretStore``."""
        await self._connection.do("SET", self._keys.secret, candidate.reveal(), "NX")
        stored = await self._connection.do("GET", self._keys.secret)
        # Emptied in between: whoever looks next puts this one there.
        self._known = candidate if stored is None else Secret(stored.decode())
        return self._known

    async def put_back(self) -> None:
        """Into an emptied Redis: the secret that tokens are signed with, unless another member was first."""
        if self._known is not None:
            await self._connection.do("SET", self._keys.secret, self._known.reveal(), "NX")
