"""Targets in Redis, a hash per environment."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.target import Target
from ff_proxy.store.protocol import UNKNOWN, Unknown
from ff_proxy.store.redis import scripts
from ff_proxy.store.redis.connection import Argument, Connection
from ff_proxy.store.redis.keys import Keys

_encode: Final = msgspec.json.Encoder(order="deterministic").encode
_decode: Final = msgspec.json.Decoder(Target).decode
_BATCH: Final = 500


class RedisTargets:
    """At most ``capacity`` targets per environment, beyond which Redis forgets some at random.

    Another member may have stored a newer description at any time, so a look-up always asks Redis; what
    is ``cached`` here only saves decoding, and keeps an unchanged target the same object.
    """

    def __init__(self, connection: Connection, keys: Keys, capacity: int, cached: int) -> None:
        self._connection = connection
        self._keys = keys
        self._capacity = capacity
        self._cached = cached
        self._cache: OrderedDict[tuple[EnvironmentId, str], tuple[bytes, Target]] = OrderedDict()

    def peek(self, environment: EnvironmentId, identifier: str) -> Target | Literal[Unknown.UNKNOWN] | None:
        """See ``TargetStore``: only Redis knows."""
        del environment, identifier
        return UNKNOWN

    async def get(self, environment: EnvironmentId, identifier: str) -> Target | None:
        """See ``TargetStore``."""
        stored = await self._connection.do("HGET", self._keys.targets(environment), _field(identifier))
        return None if stored is None else self._decoded((environment, identifier), stored)

    async def put(self, environment: EnvironmentId, target: Target, *, keep_attributes: bool = False) -> None:
        """See ``TargetStore``."""
        if keep_attributes and (held := await self.get(environment, target.identifier)) is not None:
            target = msgspec.structs.replace(target, attributes=held.attributes)
        await self.put_many(environment, [target])

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

    def _remember(self, key: tuple[EnvironmentId, str], stored: bytes, target: Target) -> None:
        self._cache[key] = (stored, target)
        self._cache.move_to_end(key)
        while len(self._cache) > self._cached:
            self._cache.popitem(last=False)

    def _decoded(self, key: tuple[EnvironmentId, str], stored: bytes) -> Target:
        known = self._cache.get(key)
        target = known[1] if known is not None and known[0] == stored else _decode(stored)
        self._remember(key, stored, target)
        return target


def _field(identifier: str) -> bytes:
    return identifier.encode("utf-8", "surrogatepass")
