"""Environments in Redis: one script per write, and reads that fetch only what moved."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import count
from typing import Any, Final

import msgspec

from ff_proxy.aio.keyed_locks import KeyedLocks
from ff_proxy.errors import StoreUnavailable
from ff_proxy.model.clock import Clock
from ff_proxy.model.environment import NEVER, EnvironmentConfig, RecentChange, Revision, UpstreamStatus
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.store.merge import edited, merge
from ff_proxy.store.protocol import Edit, Notice
from ff_proxy.store.redis import rows, scripts
from ff_proxy.store.redis.batch_loader import BatchLoader
from ff_proxy.store.redis.connection import Argument, Connection
from ff_proxy.store.redis.errors import translated
from ff_proxy.store.redis.keys import Keys
from ff_proxy.store.redis.statuses import RedisStatuses
from ff_proxy.telemetry import OnceLog

_encode: Final = msgspec.json.Encoder().encode
# A conflict means that another member wrote in between; the lease makes that rare.
_ATTEMPTS: Final = 50
# Whole environments of hundreds of flags: so many are megabytes, and others wait meanwhile.
_READ_AT_ONCE: Final = 32
_REVISIONS_AT_ONCE: Final = 256
# A connection that says nothing for so long is given up, so that the next check is on another.
_REVISION_SECONDS: Final = 0.5

_EMPTIED: Final = "Redis lost environments, serving them from memory"
_WENT_BACK: Final = "Redis went back to an older state, serving what is in memory"


class RedisConfigs:
    """Everything about environments.

    What was read or written last is kept: a read fetches what moved since, and if Redis has lost an
    environment (``FLUSHALL``, an empty failover) or its last changes (a failover that lost writes) it is
    served from here, and put back by whoever may write it (spec/behaviour#read-your-writes).

    Args:
        epoch: names this life of the process; a random text in production. An environment that is written
            whole begins an epoch of that name and a number, and the first write under a new lease begins one
            of the lease's, so that a revision is never used twice.
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
        self._begun = count(1)
        self._clock = clock
        self._once = once
        self._fence = fence
        self._statuses = RedisStatuses(connection, keys, fence)
        self._held: dict[EnvironmentId, EnvironmentConfig] = {}
        self._reading: KeyedLocks[EnvironmentId] = KeyedLocks()
        self._reads = BatchLoader(self._read_many, most=_READ_AT_ONCE)
        self._recents = BatchLoader(self._recent_many, most=_READ_AT_ONCE)
        self._revisions = BatchLoader(self._revision_many, most=_REVISIONS_AT_ONCE)

    async def close(self) -> None:
        """Ask no more."""
        for questions in (self._reads, self._recents, self._revisions):
            await questions.close()

    async def environments(self) -> Mapping[EnvironmentId, Revision]:
        """See ``ConfigReader``; an environment that Redis has lost counts as held."""
        members = await self._connection.do("SMEMBERS", self._keys.environments)
        with translated():
            names = [EnvironmentId(member.decode()) for member in members]
        states = await self._connection.run_each(scripts.STATE, [(self._of(name), []) for name in names])
        with translated():
            found = {
                name: Revision(state[0].decode(), int(state[1]))
                for name, state in zip(names, states, strict=True)
                if state
            }
        known = frozenset(names)
        lost = [
            name
            for name, held in self._held.items()
            if name not in found or _is_older(found[name], held.revision)
        ]
        for name in lost:
            config = await self.environment(name)
            if config is not None:
                found[name] = config.revision
                if name not in known and self._fence(name) is not None:
                    await self._connection.do("SADD", self._keys.environments, name)
        if not lost:
            self._once.forget(_EMPTIED)
            self._once.forget(_WENT_BACK)
        await self._statuses.again(known)
        return found

    def held(self) -> Mapping[EnvironmentId, Revision]:
        """What was read or written last, and is served while Redis does not have it."""
        return {name: config.revision for name, config in self._held.items()}

    def held_config(self, environment: EnvironmentId) -> EnvironmentConfig | None:
        """The same of one environment."""
        return self._held.get(environment)

    def hold(self, config: EnvironmentConfig) -> None:
        """Serve ``config`` while Redis does not have its environment, unless more is known already."""
        self._held.setdefault(config.id, config)

    async def revision(self, environment: EnvironmentId) -> Revision | None:
        """The environment's revision in Redis now, or ``None`` if Redis does not have it."""
        return await self._revisions.get(environment)

    async def environment(self, environment: EnvironmentId) -> EnvironmentConfig | None:
        """See ``ConfigReader``."""
        async with self._reading.held(environment):
            config, _ = await self._read(environment)
            return config

    async def recent(self, environment: EnvironmentId, since: float) -> Sequence[RecentChange]:
        """See ``ConfigReader``: of the last 2,000 changes."""
        answer = await self._recents.get((environment, since))
        with translated():
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
        async with self._reading.held(environment):
            arguments: list[Argument] = [self._own_fence(environment), self._keys.notices, environment]
            if await self._connection.run(scripts.REMOVE, self._of(environment), arguments) < 0:
                raise _fenced(environment)
            self._held.pop(environment, None)
            self._statuses.forget(environment)
            await self._connection.do("SREM", self._keys.environments, environment)

    @asynccontextmanager
    async def _watching(self) -> AsyncIterator[AsyncIterator[Notice]]:
        async with self._connection.subscribed(self._keys.notices) as payloads:
            yield _notices(payloads)

    def watch(self) -> AbstractAsyncContextManager[AsyncIterator[Notice]]:
        """See ``ChangeSource``; the iterator raises ``StoreUnavailable`` when the connection is lost."""
        return self._watching()

    async def set_status(self, environment: EnvironmentId, status: UpstreamStatus) -> None:
        """See ``StatusStore``; the word of a member that does not lead the environment is not taken."""
        await self._statuses.set(environment, status)

    async def statuses(self) -> Mapping[EnvironmentId, UpstreamStatus]:
        """See ``StatusStore``."""
        return await self._statuses.all()

    async def _read(self, environment: EnvironmentId) -> tuple[EnvironmentConfig | None, Revision]:
        """What is held now, and the revision that a write of it must still find in Redis."""
        held = self._held.get(environment)
        answer = await self._reads.get((environment, NEVER if held is None else held.revision))
        with translated():
            kind, found = answer[0].decode(), Revision(answer[1].decode(), int(answer[2]))
            if kind == "same":
                return held, found
            if kind == "removed":
                self._held.pop(environment, None)
                return None, found
            if held is not None and (kind == "absent" or _is_older(found, held.revision)):
                return await self._put_back(held, found, _EMPTIED if kind == "absent" else _WENT_BACK)
            if kind == "absent":
                return None, found
            config = rows.environment(answer[1:], held if kind == "part" else None)
        self._held[environment] = config
        return config, found

    async def _put_back(
        self, held: EnvironmentConfig, found: Revision, why: str
    ) -> tuple[EnvironmentConfig, Revision]:
        self._once.warning(why, environment=held.id)
        self._statuses.lost(held.id)
        if self._fence(held.id) is None:
            return held, found
        # Nothing is merged: what every member serves is what goes back, under a counter above it.
        written = await self._commit(None, held, found, least=held.revision.counter)
        if written is None:
            return held, found
        return written, written.revision

    async def _write(
        self,
        environment: EnvironmentId,
        change: Callable[[EnvironmentConfig | None], EnvironmentConfig | None],
    ) -> Revision | None:
        async with self._reading.held(environment):
            for _ in range(_ATTEMPTS):
                old, expected = await self._read(environment)
                new = change(old)
                if new is None:
                    return None
                if new is old:
                    return new.revision
                if old is None:
                    new = msgspec.structs.replace(new, since=self._clock.wall())
                written = await self._commit(old, new, expected)
                if written is not None:
                    return written.revision
        raise StoreUnavailable(f"environment {environment} is being written by others all the time")

    async def _commit(
        self, old: EnvironmentConfig | None, new: EnvironmentConfig, expected: Revision, *, least: int = 0
    ) -> EnvironmentConfig | None:
        """Write what makes ``old``, which is there at ``expected``, equal ``new``; without it everything.

        ``None`` if somebody else wrote first.
        """
        await self._connection.run(scripts.ENLIST, [self._keys.environments], [new.id])
        fence, now = self._own_fence(new.id), self._clock.wall()
        arguments: list[Argument] = [
            expected.epoch,
            str(expected.counter),
            fence,
            f"{self._epoch}.{next(self._begun)}" if old is None else str(fence),
            str(least),
            "1" if old is None else "0",
            self._keys.notices,
            new.id,
            _encode(new.info),
            _encode(sorted(new.keys)),
            repr(new.since),
            repr(now),
        ]
        for field, row in rows.changed(old, new, now):
            arguments += (field, row)
        answer = await self._connection.run(scripts.COMMIT, self._of(new.id), arguments)
        outcome = answer[0].decode()
        if outcome == "fenced":
            raise _fenced(new.id)
        if outcome == "moved":
            return None
        written = msgspec.structs.replace(new, revision=Revision(answer[1].decode(), int(answer[2])))
        self._held[new.id] = written
        return written

    async def _read_many(self, asked: Sequence[tuple[EnvironmentId, Revision]]) -> list[list[Any]]:
        return await self._connection.run_each(
            scripts.READ,
            [(self._of(environment), [known.epoch, str(known.counter)]) for environment, known in asked],
        )

    async def _recent_many(self, asked: Sequence[tuple[EnvironmentId, float]]) -> list[list[bytes]]:
        return await self._connection.run_each(
            scripts.RECENT,
            [([self._keys.items(name), self._keys.recent(name)], [repr(since)]) for name, since in asked],
        )

    async def _revision_many(self, environments: Sequence[EnvironmentId]) -> list[Revision | None]:
        try:
            async with asyncio.timeout(_REVISION_SECONDS):
                found = await self._connection.each(
                    [("HMGET", self._keys.config(name), "epoch", "counter") for name in environments]
                )
        except TimeoutError as error:
            raise StoreUnavailable("Redis does not answer in time") from error
        with translated():
            return [
                None if epoch is None else Revision(epoch.decode(), int(counter)) for epoch, counter in found
            ]

    def _own_fence(self, environment: EnvironmentId) -> int:
        fence = self._fence(environment)
        if fence is None:
            raise _fenced(environment)
        return fence

    def _of(self, environment: EnvironmentId) -> list[str]:
        return [
            self._keys.config(environment),
            self._keys.items(environment),
            self._keys.moved(environment),
            self._keys.recent(environment),
        ]


def _is_older(found: Revision, held: Revision) -> bool:
    """Whether ``found`` is a state before ``held``, as a failover leaves that lost the last writes."""
    return found.epoch == held.epoch and found.counter < held.counter


def _fenced(environment: EnvironmentId) -> StoreUnavailable:
    return StoreUnavailable(f"another member of the fleet writes environment {environment} now")


async def _notices(payloads: AsyncIterator[bytes]) -> AsyncIterator[Notice]:
    async for payload in payloads:
        notice = rows.notice(payload)
        if notice is not None:
            yield notice
