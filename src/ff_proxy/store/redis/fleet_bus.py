"""Messages between members: accepted keys, sent to the leader, and released leases."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from ff_proxy.errors import StoreUnavailable
from ff_proxy.model.clock import Clock
from ff_proxy.model.keys import EnvironmentId, SdkKeyHash
from ff_proxy.store.protocol import ConfigReader
from ff_proxy.store.redis.connection import Connection
from ff_proxy.store.redis.keys import Keys
from ff_proxy.store.redis.lost_writes import LostWrites

Take = Callable[[EnvironmentId, SdkKeyHash], Awaitable[object]]
Freed = Callable[[EnvironmentId], None]

_FORWARD_SECONDS: Final = 2.0
_CHECK_SECONDS: Final = 0.05
_RETRY_SECONDS: Final = 1.0


class FleetBus:
    """Sends hashes of keys, and waits until they are stored (spec/behaviour#upward-queues)."""

    def __init__(
        self, connection: Connection, keys: Keys, configs: ConfigReader, clock: Clock, lost: LostWrites
    ) -> None:
        self._connection = connection
        self._keys = keys
        self._configs = configs
        self._clock = clock
        self._lost = lost

    async def forward_key(self, environment: EnvironmentId, key: SdkKeyHash) -> bool:
        """Send a key to the leader; ``True`` once the store has it, ``False`` after a timeout."""
        with suppress(StoreUnavailable, TimeoutError):
            async with asyncio.timeout(_FORWARD_SECONDS):
                near = self._keys.config(environment)
                await self._connection.publish(self._keys.bus, f"{environment}\n{key}", near)
                while not await self._is_held(environment, key):
                    await self._clock.sleep(_CHECK_SECONDS)
                return True
        return False

    async def listen(self, take: Take, freed: Freed) -> None:
        """Call ``take`` for every key and ``freed`` for every lease, until cancelled."""
        before = False
        while True:
            try:
                async with self._connection.subscribed(self._keys.bus) as payloads:
                    if before:
                        self._lost.note_all()
                    before = True
                    async for payload in payloads:
                        environment, _, key = payload.decode("utf-8", "replace").partition("\n")
                        if key:
                            await take(EnvironmentId(environment), SdkKeyHash(key))
                        else:
                            freed(EnvironmentId(environment))
            except StoreUnavailable:
                await self._clock.sleep(_RETRY_SECONDS)

    async def _is_held(self, environment: EnvironmentId, key: SdkKeyHash) -> bool:
        config = await self._configs.environment(environment)
        return config is not None and key in config.keys
