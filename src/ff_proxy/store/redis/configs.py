"""Environments in Redis: one script per write, and reads that fetch only what moved."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final

import msgspec

from ff_proxy.errors import StoreUnavailable
from ff_proxy.model.environment import (
    NEVER,
    EnvironmentConfig,
    EnvironmentInfo,
    RecentChange,
    Revision,
    UpstreamStatus,
)
from ff_proxy.model.keys import EnvironmentId, SdkKeyHash
from ff_proxy.model.time import Clock
from ff_proxy.store.merge import edited, merge
from ff_proxy.store.protocol import Edit, Notice
from ff_proxy.store.redis import rows, scripts
from ff_proxy.store.redis.connection import Argument, Connection
from ff_proxy.store.redis.keys import Keys
from ff_proxy.telemetry import OnceLog

_encode: Final = msgspec.json.Encoder().encode
# A conflict means that another member wrote in between; the lease makes that rare.
_ATTEMPTS: Final = 50
_REMEMBERED: Final = 2000

_EMPTIED: Final = "Redis lost an environment, serving it from memory"
_WENT_BACK: Final = "Redis went back to an older state, serving what is in memory"


class RedisConfigs:
    """Everything about environments.

    What was read or written last is kept: a read fetches what moved since, and if Redis has lost an
    environment (``FLUSHALL``, an empty failover) or its last changes (a failover that lost writes) it is
    served from here, and put back by whoever may write it (PRODUCT §6.6).

    Args:
        epoch: the epoch that an environment is given if Redis knows none; a random text in production. The
            first write under a new lease begins an epoch of its own, so that a revision is never used twice.
        fence: the fencing number of an environment's lease, 0 where there are no leases; ``None`` if this
            member does not hold it.
    """

    def __init__(
        self,
        connection: Connection,
        keys: Keys,
        epoch: str,
        clock: Clock,
        once: OnceLog,
        fence: Callable[[EnvironmentId], int | None],
    ) -> None:
        self._connection = connection
        self._keys = keys
        self._epoch = epoch
        self._clock = clock
        self._once = once
        self._fence = fence
        self._held: dict[EnvironmentId, EnvironmentConfig] = {}
        self._reported: dict[EnvironmentId, UpstreamStatus] = {}
        self._reading: dict[EnvironmentId, asyncio.Lock] = {}

    async def environments(self) -> Mapping[EnvironmentId, Revision]:
        """See ``ConfigReader``; an environment that Redis has lost counts as held."""
        members = await self._connection.do("SMEMBERS", self._keys.environments)
        names = [EnvironmentId(member.decode()) for member in members]
        states = await self._connection.each(
            [("HMGET", self._keys.config(name), "epoch", "counter", "removed") for name in names]
        )
        found = {
            name: Revision(epoch.decode(), int(counter))
            for name, (epoch, counter, removed) in zip(names, states, strict=True)
            if epoch is not None and removed is None
        }
        for name, held in list(self._held.items()):
            if name not in found or _is_older(found[name], held.revision):
                config = await self.environment(name)
                if config is not None:
                    found[name] = config.revision
        return found

    async def revision(self, environment: EnvironmentId) -> Revision | None:
        """The environment's revision in Redis now, or ``None`` if Redis does not have it."""
        epoch, counter = await self._connection.do(
            "HMGET", self._keys.config(environment), "epoch", "counter"
        )
        return None if epoch is None else Revision(epoch.decode(), int(counter))

    async def environment(self, environment: EnvironmentId) -> EnvironmentConfig | None:
        """See ``ConfigReader``."""
        async with self._reading.setdefault(environment, asyncio.Lock()):
            return await self._read(environment)

    async def recent(self, environment: EnvironmentId, since: float) -> Sequence[RecentChange]:
        """See ``ConfigReader``: of the last 2,000 changes."""
        keys = [self._keys.items(environment), self._keys.moved(environment)]
        answer = await self._connection.run(scripts.NEWEST, keys, [_REMEMBERED])
        return rows.recent(answer, since)

    async def replace(self, config: EnvironmentConfig) -> Revision:
        """See ``ConfigWriter``."""
        revision = await self._write(config.id, lambda old: merge(old, config))
        assert revision is not None  # noqa: S101  (merge makes an environment of nothing)
        return revision

    async def apply(self, environment: EnvironmentId, edit: Edit) -> Revision | None:
        """See ``ConfigWriter``."""
        return await self._write(environment, lambda old: None if old is None else edited(old, edit))

    async def remove(self, environment: EnvironmentId) -> None:
        """See ``ConfigWriter``: what remains in Redis says that it is gone, so that nobody puts it back."""
        async with self._reading.setdefault(environment, asyncio.Lock()):
            self._held.pop(environment, None)
            keys = self._of(environment)
            arguments: list[Argument] = [self._own_fence(environment), self._keys.notices, environment]
            if await self._connection.run(scripts.REMOVE, keys, arguments) < 0:
                raise _fenced(environment)
            await self._connection.do("SREM", self._keys.environments, environment)

    @asynccontextmanager
    async def _watching(self) -> AsyncIterator[AsyncIterator[Notice]]:
        async with self._connection.subscribed(self._keys.notices) as payloads:
            yield _notices(payloads)

    def watch(self) -> AbstractAsyncContextManager[AsyncIterator[Notice]]:
        """See ``ChangeSource``; the iterator raises ``StoreUnavailable`` when the connection is lost."""
        return self._watching()

    async def set_status(self, environment: EnvironmentId, status: UpstreamStatus) -> None:
        """See ``StatusStore``; only who leads an environment knows it, the word of others is not taken."""
        fence = self._fence(environment)
        if fence is None:
            return
        self._reported[environment] = status
        await self._connection.do("SADD", self._keys.environments, environment)
        await self._connection.do(
            "HSET", self._keys.config(environment), "status", _encode(status), "reporter", fence
        )

    async def statuses(self) -> Mapping[EnvironmentId, UpstreamStatus]:
        """See ``StatusStore``; what was reported under a lease counts for as long as that lasts."""
        members = await self._connection.do("SMEMBERS", self._keys.environments)
        names = [EnvironmentId(member.decode()) for member in members]
        questions: list[tuple[Argument, ...]] = []
        for name in names:
            questions.append(("HMGET", self._keys.config(name), "status", "reporter"))
            questions.append(("GET", self._keys.lease(name)))
        found = await self._connection.each(questions)
        return {
            name: rows.status(status, int(reporter or 0), lease)
            for name, (status, reporter), lease in zip(names, found[::2], found[1::2], strict=True)
            if status is not None
        }

    async def _read(self, environment: EnvironmentId) -> EnvironmentConfig | None:
        held = self._held.get(environment)
        known = NEVER if held is None else held.revision
        answer = await self._connection.run(
            scripts.READ, self._of(environment), [known.epoch, str(known.counter)]
        )
        kind = answer[0].decode()
        if kind == "same":
            return held
        if kind == "removed":
            self._held.pop(environment, None)
            return None
        if kind == "absent":
            return None if held is None else await self._put_back(held, NEVER, _EMPTIED)
        found = Revision(answer[1].decode(), int(answer[2]))
        if held is not None and _is_older(found, held.revision):
            return await self._put_back(held, found, _WENT_BACK)
        config = _decoded(answer[1:], held if kind == "part" else None)
        self._held[environment] = config
        return config

    async def _put_back(self, held: EnvironmentConfig, found: Revision, why: str) -> EnvironmentConfig:
        self._once.warning(why, subject=held.id)
        if self._fence(held.id) is None:
            return held
        # Nothing is merged: what every member serves is what goes back, under a counter above it.
        written = await self._commit(None, held, found, least=held.revision.counter)
        if written is None:
            return held
        self._once.forget(why, subject=held.id)
        if held.id in self._reported:
            await self.set_status(held.id, self._reported[held.id])
        return written

    async def _write(
        self,
        environment: EnvironmentId,
        change: Callable[[EnvironmentConfig | None], EnvironmentConfig | None],
    ) -> Revision | None:
        async with self._reading.setdefault(environment, asyncio.Lock()):
            for _ in range(_ATTEMPTS):
                old = await self._read(environment)
                new = change(old)
                if new is None:
                    return None
                if new is old:
                    return new.revision
                written = await self._commit(old, new, NEVER if old is None else old.revision, least=0)
                if written is not None:
                    return written.revision
        raise StoreUnavailable(f"environment {environment} is being written by others all the time")

    async def _commit(
        self, old: EnvironmentConfig | None, new: EnvironmentConfig, expected: Revision, *, least: int
    ) -> EnvironmentConfig | None:
        """Write the difference to what is there at ``expected``; ``None`` if somebody else wrote first."""
        now = self._clock.wall()
        since = new.since if old is None and new.since else now if old is None else old.since
        await self._connection.do("SADD", self._keys.environments, new.id)
        fence = self._own_fence(new.id)
        arguments: list[Argument] = [
            expected.epoch,
            str(expected.counter),
            fence,
            str(fence) if fence else self._epoch,
            str(least),
            self._keys.notices,
            new.id,
            _encode(new.info),
            _encode(sorted(new.keys)),
            repr(since),
        ]
        for field, row in rows.changed(old, new, now):
            arguments += (field, row)
        answer = await self._connection.run(scripts.COMMIT, self._of(new.id), arguments)
        outcome = answer[0].decode()
        if outcome == "fenced":
            raise _fenced(new.id)
        if outcome == "moved":
            return None
        revision = Revision(answer[1].decode(), int(answer[2]))
        written = msgspec.structs.replace(new, revision=revision, since=since)
        self._held[new.id] = written
        return written

    def _own_fence(self, environment: EnvironmentId) -> int:
        fence = self._fence(environment)
        if fence is None:
            raise _fenced(environment)
        return fence

    def _of(self, environment: EnvironmentId) -> list[str]:
        return [self._keys.config(environment), self._keys.items(environment), self._keys.moved(environment)]


def _is_older(found: Revision, held: Revision) -> bool:
    """Whether ``found`` is a state before ``held``, as a failover leaves that lost the last writes."""
    return found.epoch == held.epoch and found.counter < held.counter


def _fenced(environment: EnvironmentId) -> StoreUnavailable:
    return StoreUnavailable(f"another member of the fleet writes environment {environment} now")


def _decoded(answer: list[Any], held: EnvironmentConfig | None) -> EnvironmentConfig:
    epoch, counter, info, keys, since, changed = answer
    flags, segments, retired = rows.applied(changed, held)
    return EnvironmentConfig(
        info=msgspec.json.decode(info, type=EnvironmentInfo),
        flags=flags,
        segments=segments,
        keys=frozenset(SdkKeyHash(key) for key in msgspec.json.decode(keys, type=list[str])),
        revision=Revision(epoch.decode(), int(counter)),
        retired=retired,
        since=float(since),
    )


async def _notices(payloads: AsyncIterator[bytes]) -> AsyncIterator[Notice]:
    async for payload in payloads:
        name, *revision = payload.decode().split("\n")
        environment = EnvironmentId(name)
        if revision:
            epoch, counter = revision
            yield Notice(environment, Revision(epoch, int(counter)))
        else:
            yield Notice(environment, None)
