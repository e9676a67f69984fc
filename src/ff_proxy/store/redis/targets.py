"""Targets in Redis, one hash per environment."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, Literal

import msgspec

from ff_proxy.bounded import BoundedMap
from ff_proxy.errors import StoreUnavailable
from ff_proxy.model.clock import Clock, milliseconds
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.memory import MemoryShares
from ff_proxy.model.target import Target
from ff_proxy.store.merge import merge_target
from ff_proxy.store.protocol import UNKNOWN, Unknown
from ff_proxy.store.redis import queue_scripts
from ff_proxy.store.redis.batch_loader import BatchLoader
from ff_proxy.store.redis.connection import Argument, Connection
from ff_proxy.store.redis.errors import translated
from ff_proxy.store.redis.keys import Keys, encoded
from ff_proxy.telemetry import OnceLog
from ff_proxy.wire.stored import DescribedTarget, encode_row, encode_target, is_newer, read_row

_BATCH: Final = 500
_MAX_LOOKUPS: Final = 1000
_SCAN_COUNT: Final = 500
# The timeout of a lookup if a cached target can be served instead
# (spec/behaviour#read-your-writes).
_KNOWN_SECONDS: Final = 0.05
# The timeout if none is cached: a short delay must not lose a target's attributes.
_UNKNOWN_SECONDS: Final = 0.5
# How long an authentication waits for its target to be stored.
_PUT_SECONDS: Final = 1.0
_ATTEMPTS: Final = 5
_Key = tuple[EnvironmentId, str]


class RedisTargets:
    """About ``capacity`` bytes of targets per environment; beyond that, random ones are deleted.

    Another member may store a newer target at any time, so a lookup always asks Redis. The cache saves
    decoding, keeps an unchanged target the same object, and is served while Redis does not answer or has lost
    a target. Targets that could not be stored yet are pending, and served from here.
    """

    def __init__(
        self,
        connection: Connection,
        keys: Keys,
        capacity: int,
        shares: MemoryShares,
        clock: Clock,
        once: OnceLog,
        dropped: Callable[[str], Callable[[int], object]],
    ) -> None:
        self._connection = connection
        self._clock = clock
        self._keys = keys
        self._capacity = capacity
        self._cache: BoundedMap[_Key, tuple[bytes, DescribedTarget]] = BoundedMap(
            shares.targets, dropped=dropped("targets")
        )
        self._once = once
        # With whether stored attributes are kept.
        self._pending: BoundedMap[_Key, tuple[DescribedTarget, bool]] = BoundedMap(
            shares.pending_writes, dropped=self._drop_pending
        )
        self._count_dropped = dropped("pending_writes")
        self._flushing = asyncio.Lock()
        self._silent = False
        self._lookups = BatchLoader(
            self._look_up, most=_MAX_LOOKUPS, group=lambda key: connection.group(keys.targets(key[0]))
        )

    def peek(self, environment: EnvironmentId, identifier: str) -> Target | Literal[Unknown.UNKNOWN] | None:
        """See ``TargetStore``: only Redis knows."""
        del environment, identifier
        return UNKNOWN

    async def get(self, environment: EnvironmentId, identifier: str) -> Target | None:
        """See ``TargetStore``; waits a moment for a cached target, half a second for another.

        After half a second without an answer, every call waits only a moment until Redis answers again.
        """
        key = (environment, identifier)
        pending = self._pending.get(key)
        if pending is not None:
            return pending[0].target
        known = self._cache.get(key)
        try:
            async with asyncio.timeout(
                _UNKNOWN_SECONDS if known is None and not self._silent else _KNOWN_SECONDS
            ):
                stored = await self._lookups.get(key)
        except (StoreUnavailable, TimeoutError) as error:
            if known is None:
                raise StoreUnavailable(str(error) or "Redis does not answer in time") from error
            return known[1].target
        found = None if stored is None else self._decoded(key, stored)
        # Targets are deleted for lack of room only, and never get older: a Redis without a known target, or
        # with an older one, has lost data.
        known = self._cache.get(key)
        if found is None:
            return None if known is None else known[1].target
        if known is not None and is_newer(known[1], found):
            self._add_pending(key, known[1], keep=False)
            return known[1].target
        return found.target

    async def put(
        self,
        environment: EnvironmentId,
        target: Target,
        *,
        keep_attributes: bool = False,
        described_at: int | None = None,
    ) -> None:
        """See ``TargetStore``; stored later if Redis does not answer now."""
        keep, late = keep_attributes, described_at is not None
        described = DescribedTarget(
            target, milliseconds(self._clock) if described_at is None else described_at
        )
        key = (environment, target.identifier)
        pending = self._pending.get(key)
        if pending is not None and keep:
            kept = msgspec.structs.replace(described.target, attributes=pending[0].target.attributes)
            described, keep = DescribedTarget(kept, described.at), pending[1]
        try:
            async with asyncio.timeout(_KNOWN_SECONDS if self._silent else _PUT_SECONDS):
                if pending is None:
                    await self._store(environment, described, keep=keep, late=late)
                else:
                    async with self._flushing:  # the older target may be in flight
                        await self._store(environment, described, keep=keep, late=late)
        except (StoreUnavailable, TimeoutError) as error:
            self._add_pending(key, described, keep=keep)
            why = str(error) or "no answer in time"
            raise StoreUnavailable(f"target not stored yet ({why})") from error
        self._silent = False
        if self._pending.get(key) is pending:
            self._pending.pop(key)

    async def flush_pending(self) -> None:
        """Store pending targets; called when Redis has just answered."""
        self._silent = False
        # Some nodes of a Cluster may be away: only their environments wait.
        away: set[EnvironmentId] = set()
        for key in list(self._pending):
            if key[0] in away:
                continue
            async with self._flushing:
                pending = self._pending.get(key)
                if pending is not None:
                    try:
                        await self._store(key[0], pending[0], keep=pending[1], late=True)
                    except StoreUnavailable as error:
                        self._once.trouble("targets not stored yet", error, key[0])
                        away.add(key[0])
                    else:
                        if self._pending.get(key) is pending:
                            self._pending.pop(key)

    async def close(self) -> None:
        """Stop all lookups."""
        await self._lookups.close()

    async def put_many(self, environment: EnvironmentId, targets: Sequence[Target]) -> None:
        """See ``TargetStore``; served from here even if Redis does not store them."""
        now = milliseconds(self._clock)
        described = [DescribedTarget(target, now) for target in targets]
        try:
            await self._put(environment, described, late=False)
        except StoreUnavailable:
            for one in described:
                self._decoded((environment, one.target.identifier), encode_row(one))
            raise

    async def every(self, environment: EnvironmentId) -> Sequence[Target]:
        """See ``TargetStore``; read in parts, so that Redis serves others meanwhile."""
        rows: dict[bytes, bytes] = {}
        cursor = 0
        while True:
            part = await self._connection.do(
                "HSCAN", self._keys.targets(environment), cursor, "COUNT", _SCAN_COUNT
            )
            with translated():
                rows.update(part[1])
                cursor = int(part[0])
            if not cursor:
                break
        found = {row.target.identifier: row.target for row in map(read_row, rows.values()) if row is not None}
        pending = {name: held.target for (of, name), (held, _) in self._pending.items() if of == environment}
        return list((found | pending).values())

    async def restore(self) -> None:
        """Store cached targets that Redis has lost, or has in an older version."""
        lost: dict[EnvironmentId, list[DescribedTarget]] = {}
        for (environment, _), (_, described) in list(self._cache.items()):
            lost.setdefault(environment, []).append(described)
        for environment, targets in lost.items():
            try:
                await self._put(environment, targets, late=True)
            except StoreUnavailable as error:
                self._once.trouble("targets not stored yet", error, environment)

    async def _put(
        self, environment: EnvironmentId, targets: Sequence[DescribedTarget], *, late: bool
    ) -> None:
        for start in range(0, len(targets), _BATCH):
            batch = targets[start : start + _BATCH]
            arguments: list[Argument] = [self._capacity, "0" if late else "1"]
            for described in batch:
                target = described.target
                arguments += (encoded(target.identifier), described.at, encode_target(target))
            times = await self._connection.run(
                queue_scripts.PUT_TARGETS, [self._keys.targets(environment)], arguments
            )
            with translated():
                for described, at in zip(batch, map(int, times), strict=True):
                    key = (environment, described.target.identifier)
                    if at < 0:
                        self._cache.pop(key)  # Redis has a newer one
                    else:
                        row = encode_row(DescribedTarget(described.target, at))
                        self._decoded(key, row)

    async def _store(
        self, environment: EnvironmentId, described: DescribedTarget, *, keep: bool, late: bool
    ) -> None:
        if not keep or not await self._keep(environment, described, late=late):
            await self._put(environment, [described], late=late)

    async def _keep(self, environment: EnvironmentId, described: DescribedTarget, *, late: bool) -> bool:
        """Store it with the attributes in Redis; ``False`` if other members keep changing it."""
        key = (environment, described.target.identifier)
        for _ in range(_ATTEMPTS):
            row = await self._lookups.get(key)
            held = None if row is None else self._decoded(key, row)
            if held is None and (known := self._cache.get(key)) is not None:
                held = known[1]
            kept = merge_target(
                held,
                described.target,
                described.at,
                keep_attributes=True,
                described_at=described.at if late else None,
            )
            if kept is held and row is not None:
                return True
            stored = encode_row(kept)
            arguments: list[Argument] = [self._capacity, encoded(key[1]), row or b"", stored]
            if await self._connection.run(
                queue_scripts.KEEP_TARGET, [self._keys.targets(environment)], arguments
            ):
                self._remember(key, stored, kept)
                return True
        return False

    async def _look_up(self, asked: Sequence[_Key]) -> list[bytes | None]:
        try:
            async with asyncio.timeout(_UNKNOWN_SECONDS):
                found = await self._connection.each(
                    [("HGET", self._keys.targets(name), encoded(identifier)) for name, identifier in asked]
                )
        except TimeoutError as error:
            self._silent = True
            raise StoreUnavailable("Redis does not answer in time") from error
        self._silent = False
        return found

    def _add_pending(self, key: _Key, described: DescribedTarget, *, keep: bool) -> None:
        self._pending.put(key, (described, keep))

    def _drop_pending(self, entries: int) -> None:
        self._count_dropped(entries)
        self._once.warning("Redis is away for long, the oldest targets that wait for it are dropped")

    def _remember(self, key: _Key, stored: bytes, described: DescribedTarget) -> None:
        self._cache.put(key, (stored, described))

    def _decoded(self, key: _Key, stored: bytes) -> DescribedTarget | None:
        """Decode a row, and cache it unless a newer target is cached; ``None`` if it cannot be read."""
        known = self._cache.get(key)
        if known is not None and known[0] == stored:
            self._remember(key, *known)
            return known[1]
        described = read_row(stored)
        if described is None:
            self._once.warning("a target stored in Redis cannot be read, it counts as not stored", key[0])
        elif known is None or not is_newer(known[1], described):
            self._remember(key, stored, described)
        return described
