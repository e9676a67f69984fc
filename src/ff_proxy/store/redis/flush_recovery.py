"""Noticing that Redis was emptied, and putting back what only members know (PRODUCT §6.1, §6.6)."""

import asyncio
from contextlib import suppress
from typing import Final
from uuid import uuid4

from ff_proxy.errors import StoreUnavailable
from ff_proxy.model.clock import Clock
from ff_proxy.store.redis.connection import Connection
from ff_proxy.store.redis.keys import Keys
from ff_proxy.store.redis.secrets import RedisSecrets
from ff_proxy.store.redis.targets import RedisTargets
from ff_proxy.telemetry import Telemetry

_LOOK_SECONDS: Final = 2.0


class FlushRecovery:
    """The service that looks every two seconds whether a mark is still there.

    Environments are put back by who leads them; this is for what no leader knows: the secret, and the
    targets that this member has seen, or could not store while Redis was away.
    """

    name = "keeper"

    def __init__(
        self,
        connection: Connection,
        keys: Keys,
        secrets: RedisSecrets,
        targets: RedisTargets,
        clock: Clock,
        telemetry: Telemetry,
    ) -> None:
        self.ready = asyncio.Event()
        self._connection = connection
        self._keys = keys
        self._secrets = secrets
        self._targets = targets
        self._clock = clock
        self._once = telemetry.once("store")
        self._born: bytes | None = None

    async def run(self) -> None:
        """Look until cancelled."""
        self.ready.set()
        while True:
            with suppress(StoreUnavailable):  # whoever needs an answer says so
                await self.look()
            await self._clock.sleep(_LOOK_SECONDS)

    async def look(self) -> None:
        """Look once; raises ``StoreUnavailable``."""
        await self._connection.do("SET", self._keys.born, uuid4().hex, "NX")
        born = await self._connection.do("GET", self._keys.born)
        if self._born is not None and self._born != born:
            self._once.warning("Redis was emptied, putting back secret and targets")
            await self._targets.put_back()
        if self._born != born:
            await self._advise()
        # Always: it costs nothing, and Redis may have been emptied before the first look.
        await self._secrets.put_back()
        if self._secrets.others():
            self._once.warning("members sign tokens with different secrets, all of them are taken")
        await self._targets.pay()
        self._born = born
        self._once.forget("Redis was emptied, putting back secret and targets")

    async def _advise(self) -> None:
        with suppress(StoreUnavailable):  # an ACL user need not have the command
            memory = await self._connection.do("INFO", "memory")
            policy = memory.get("maxmemory_policy", "noeviction")
            if memory.get("maxmemory") and policy != "noeviction":
                self._once.warning(
                    "Redis drops what is stored when its memory is full: set maxmemory-policy noeviction",
                    policy=policy,
                )
