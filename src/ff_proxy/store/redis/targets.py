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
from ff_proxy.store.redis.batch_loader import BatchLoader
from ff_proxy.store.redis.connection import Argument, Connection
from ff_proxy.store.redis.errors import translated
from ff_proxy.store.redis.keys import Keys
from ff_proxy.telemetry import OnceLog

_encode: Final = msgspec.json.Encoder(order="deterministic").encode
_decode: Final = msgspec.json.Decoder(Target).decode
_BATCH: Final = 500
_ASKED_AT_ONCE: Final = 1000
# How long a look-up waits where something is at hand that can be served instead (PRODUCT §6.6).
_KNOWN_SECONDS: Final = 0.05
# How long it waits where nothing is: a hiccup must not cost anybody its attributes.
_UNKNOWN_SECONDS: Final = 0.5
# How long an SDK's authentication waits for its target to be stored.
_PUT_SECONDS: Final = 1.0
_OWED: Final = 10_000
_ATTEMPTS: Final = 5
_Key = tuple[EnvironmentId, str]


class RedisTargets:
    """At most ``capacity`` targets per environment, beyond which Redis forgets some at random.

    Another member may have stored a newer description at any time, so a look-up always asks Redis. What is
    ``cached`` here saves decoding, keeps an unchanged target the same object, and is served while Redis does
    not answer or has lost it. What could not be stored is owed, and counts here until it is.
    """

    def __init__(self, connection: Connection, keys: Keys, capacity: int, cached: int, once: OnceLog) -> None:
        self._connection = connection
        self._keys = keys
        self._capacity = capacity
        self._cached = cached
        self._cache: OrderedDict[_Key, tuple[bytes, Target]] = OrderedDict()
        self._once = once
        # With whether attributes that are stored already stay.
        self._owed: OrderedDict[_Key, tuple[Target, bool]] = OrderedDict()
        self._paying = asyncio.Lock()
        self._silent = False
        self._lookups = BatchLoader(self._look_up, most=_ASKED_AT_ONCE)

    def peek(self, environment: EnvironmentId, identifier: str) -> Target | Literal[Unknown.UNKNOWN] | None:
        """See ``TargetStore``: only Redis knows."""
        del environment, identifier
        return UNKNOWN

    async def get(self, environment: EnvironmentId, identifier: str) -> Target | None:
        """See ``TargetStore``: a moment for what is cached, half a second for what is not.

        A Redis that let half a second pass is given no more than a moment by anybody until it answers.
        """
        key = (environment, identifier)
        if key in self._owed:
            return self._owed[key][0]
        known = self._cache.get(key)
        try:
            async with asyncio.timeout(
                _UNKNOWN_SECONDS if known is None and not self._silent else _KNOWN_SECONDS
            ):
                stored = await self._lookups.get(key)
        except (StoreUnavailable, TimeoutError) as error:
            if known is None:
                raise StoreUnavailable(str(error) or "Redis does not answer in time") from error
            return known[1]
        if stored is not None:
            with translated():
                return self._decoded(key, stored)
        # Targets are never deleted but for want of room: a Redis that does not have it was emptied.
        return None if known is None else known[1]

    async def put(self, environment: EnvironmentId, target: Target, *, keep_attributes: bool = False) -> None:
        """See ``TargetStore``; bounded, and stored later if Redis does not answer now."""
        key = (environment, target.identifier)
        debt, keep = self._owed.get(key), keep_attributes
        if debt is not None and keep:
            target = msgspec.structs.replace(target, attributes=debt[0].attributes)
            keep = debt[1]
        try:
            async with asyncio.timeout(_KNOWN_SECONDS if self._silent else _PUT_SECONDS):
                if debt is None:
                    await self._store(environment, target, keep=keep)
                else:
                    async with self._paying:  # the older description may be on its way
                        await self._store(environment, target, keep=keep)
        except (StoreUnavailable, TimeoutError) as error:
            self._owe(key, target, keep=keep)
            why = str(error) or "no answer in time"
            raise StoreUnavailable(f"target not stored yet ({why})") from error
        self._silent = False
        if self._owed.get(key) is debt:
            self._owed.pop(key, None)

    async def pay(self) -> None:
        """Store what could not be stored when it came; called when Redis has just answered."""
        self._silent = False
        for key in list(self._owed):
            async with self._paying:
                debt = self._owed.get(key)
                if debt is not None:
                    await self._store(key[0], debt[0], keep=debt[1])
                    if self._owed.get(key) is debt:
                        del self._owed[key]

    async def close(self) -> None:
        """Ask no more."""
        await self._lookups.close()

    async def put_many(self, environment: EnvironmentId, targets: Sequence[Target]) -> None:
        """See ``TargetStore``; what Redis does not take is served here all the same."""
        for start in range(0, len(targets), _BATCH):
            arguments: list[Argument] = [self._capacity]
            for target in targets[start : start + _BATCH]:
                stored = _encode(target)
                arguments += (_field(target.identifier), stored)
                self._remember((environment, target.identifier), stored, target)
            await self._connection.run(scripts.PUT_TARGETS, [self._keys.targets(environment)], arguments)

    async def put_back(self) -> None:
        """Store what is cached here and Redis does not have: for a Redis that was emptied."""
        await self._connection.each(
            [
                ("HSETNX", self._keys.targets(environment), _field(identifier), stored)
                for (environment, identifier), (stored, _) in self._cache.items()
            ]
        )

    async def _store(self, environment: EnvironmentId, target: Target, *, keep: bool) -> None:
        if not keep or not await self._keep(environment, target):
            await self.put_many(environment, [target])

    async def _keep(self, environment: EnvironmentId, target: Target) -> bool:
        """Store it with the attributes that are stored; ``False`` if others store it all the time."""
        key = (environment, target.identifier)
        for _ in range(_ATTEMPTS):
            found = await self._lookups.get(key)
            with translated():
                held = self._cache.get(key, (b"", target))[1] if found is None else self._decoded(key, found)
            kept = msgspec.structs.replace(target, attributes=held.attributes)
            arguments: list[Argument] = [self._capacity, _field(key[1]), found or b"", _encode(kept)]
            if await self._connection.run(scripts.KEEP_TARGET, [self._keys.targets(environment)], arguments):
                self._remember(key, _encode(kept), kept)
                return True
        return False

    async def _look_up(self, asked: Sequence[_Key]) -> list[bytes | None]:
        try:
            async with asyncio.timeout(_UNKNOWN_SECONDS):
                found = await self._connection.each(
                    [("HGET", self._keys.targets(name), _field(identifier)) for name, identifier in asked]
                )
        except TimeoutError as error:
            self._silent = True
            raise StoreUnavailable("Redis does not answer in time") from error
        self._silent = False
        return found

    def _owe(self, key: _Key, target: Target, *, keep: bool) -> None:
        self._owed[key] = (target, keep)
        if len(self._owed) > _OWED:
            self._owed.popitem(last=False)
            self._once.warning("Redis is away for long, the oldest targets that wait for it are dropped")

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
