"""Targets in Redis, a hash per environment."""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from ff_proxy.errors import StoreUnavailable
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.target import Target
from ff_proxy.store.protocol import UNKNOWN, Unknown
from ff_proxy.store.redis import scripts
from ff_proxy.store.redis.connection import Argument, Connection
from ff_proxy.store.redis.keys import Keys
from ff_proxy.store.redis.lookups import Lookups

_encode: Final = msgspec.json.Encoder(order="deterministic").encode
_decode: Final = msgspec.json.Decoder(Target).decode
_BATCH: Final = 500
# How long a look-up waits where something is at hand that can be served instead (PRODUCT §6.6).
_KNOWN_SECONDS: Final = 0.05
# How long an SDK's authentication waits for its target to be stored.
_PUT_SECONDS: Final = 1.0
_OWED: Final = 10_000
_Key = tuple[EnvironmentId, str]


class RedisTargets:
    """At most ``capacity`` targets per environment, beyond which Redis forgets some at random.

    Another member may have stored a newer description at any time, so a look-up always asks Redis. What is
    ``cached`` here saves decoding, keeps an unchanged target the same object, and is served while Redis does
    not answer or has lost it. What could not be stored is owed, and counts here until it is.
    """

    def __init__(self, connection: Connection, keys: Keys, capacity: int, cached: int) -> None:
        self._connection = connection
        self._keys = keys
        self._capacity = capacity
        self._cached = cached
        self._cache: OrderedDict[_Key, tuple[bytes, Target]] = OrderedDict()
        self._owed: OrderedDict[_Key, Target] = OrderedDict()
        self._lookups = Lookups(connection)

    def peek(self, environment: EnvironmentId, identifier: str) -> Target | Literal[Unknown.UNKNOWN] | None:
        """See ``TargetStore``: only Redis knows."""
        del environment, identifier
        return UNKNOWN

    async def get(self, environment: EnvironmentId, identifier: str) -> Target | None:
        """See ``TargetStore``; bounded to half a second, and to a moment for what is cached."""
        key = (environment, identifier)
        if key in self._owed:
            return self._owed[key]
        known = self._cache.get(key)
        try:
            async with asyncio.timeout(None if known is None else _KNOWN_SECONDS):
                stored = await self._lookups.get(self._keys.targets(environment), _field(identifier))
        except (StoreUnavailable, TimeoutError):
            if known is None:
                raise
            return known[1]
        if stored is not None:
            return self._decoded(key, stored)
        # Targets are never deleted but for want of room: a Redis that does not have it was emptied.
        return None if known is None else known[1]

    async def put(self, environment: EnvironmentId, target: Target, *, keep_attributes: bool = False) -> None:
        """See ``TargetStore``; bounded, and stored later if Redis does not answer now."""
        key = (environment, target.identifier)
        if keep_attributes and (held := await self.get(*key)) is not None:
            target = msgspec.structs.replace(target, attributes=held.attributes)
        try:
            async with asyncio.timeout(_PUT_SECONDS):
                await self.put_many(environment, [target])
        except (StoreUnavailable, TimeoutError) as error:
            self._owed[key] = target
            while len(self._owed) > _OWED:
                self._owed.popitem(last=False)
            why = str(error) or "no answer in time"
            raise StoreUnavailable(f"target not stored yet ({why})") from error
        self._owed.pop(key, None)

    async def pay(self) -> None:
        """Store what could not be stored when it came."""
        for key, target in list(self._owed.items()):
            await self.put_many(key[0], [target])
            if self._owed.get(key) is target:
                del self._owed[key]

    async def close(self) -> None:
        """Ask no more."""
        await self._lookups.close()

    async def put_many(self, environment: EnvironmentId, targets: Sequence[Target]) -> None:
        """See ``TargetStore``."""
        for start in range(0, len(targets), _BATCH):
            arguments: list[Argument] = [self._capacity]
            for target in targets[start : start + _BATCH]:
                stored = _encode(target)
                arguments += (_field(target.identifier), stored)
                self._remember((environment, target.identifier), stored, target)
            await self._connection.run(scripts.PUT_TARGETS, [self._keys.targets(environment)], arguments)

    async def put_back(self) -> None:
        """Store what is cached here and Redis does not have: for a Redis that was emptied."""
        commands = [
            ("HSETNX", self._keys.targets(environment), _field(identifier), stored)
            for (environment, identifier), (stored, _) in self._cache.items()
        ]
        for start in range(0, len(commands), _BATCH):
            await self._connection.each(commands[start : start + _BATCH])

    def _remember(self, key: _Key, stored: bytes, target: Target) -> None:
        self._cache[key] = (stored, target)
        self._cache.move_to_end(key)
        while len(self._cache) > self._cached:
            self._cache.popitem(last=False)

    def _decoded(self, key: _Key, stored: bytes) -> Target:
        known = self._cache.get(key)
        target = known[1] if known is not None and known[0] == stored else _decode(stored)
        self._remember(key, stored, target)
        return target


def _field(identifier: str) -> bytes:
    return identifier.encode("utf-8", "surrogatepass")
