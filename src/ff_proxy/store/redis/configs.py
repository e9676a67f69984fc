"""Environments in Redis: one script per write, and reads that fetch only what changed."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from itertools import count
from typing import Final

import msgspec

from ff_proxy.aio.keyed_locks import KeyedLocks
from ff_proxy.errors import StoreUnavailable, StoreUnreadable
from ff_proxy.model.clock import Clock
from ff_proxy.model.environment import NEVER, EnvironmentConfig, RecentChange, Revision, UpstreamStatus
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.store.join import joined
from ff_proxy.store.merge import Difference, apply_edit, difference, merge
from ff_proxy.store.protocol import Edit, Notice
from ff_proxy.store.redis import rows, scripts
from ff_proxy.store.redis.connection import Argument, Connection
from ff_proxy.store.redis.errors import translated
from ff_proxy.store.redis.held import Held, HeldEnvironments
from ff_proxy.store.redis.keys import Keys
from ff_proxy.store.redis.leases import Leases
from ff_proxy.store.redis.lookups import Lookups
from ff_proxy.store.redis.lost_writes import LostWrites
from ff_proxy.store.redis.replicated_set import ReplicatedSet
from ff_proxy.store.redis.statuses import RedisStatuses
from ff_proxy.telemetry import OnceLog

_encode: Final = msgspec.json.Encoder().encode
# A conflict means that another member wrote meanwhile, which the lease makes rare.
_ATTEMPTS: Final = 50

_EMPTIED: Final = "Redis lost environments, serving them from memory"
_WENT_BACK: Final = "Redis went back to an older state, serving what is in memory"
_UNREADABLE: Final = "what Redis has of an environment cannot be read and is written anew"
_NOT_YET: Final = "what Redis has lost is not put back yet"


class RedisConfigs:
    """Everything about environments.

    The last state that was read or written is kept here. A read fetches the changes since, and if Redis has
    lost an environment (``FLUSHALL``, an empty failover) or its last changes (a restored dump, a failover
    that lost writes), it is served from here and restored (spec/behaviour#read-your-writes). An item is never
    replaced by an older version.

    Args:
        epoch: identifies this run of the process; random in production. A write begins a new epoch, of this
            name and a number, if it replaces the whole environment, is the first one under a lease, or
            follows a write of another member or one without an answer. So no revision is used twice.
        leases: say which environments this member leads.
        lost: collects signs that Redis has lost writes.
    """

    def __init__(
        self,
        connection: Connection,
        keys: Keys,
        epoch: str,
        clock: Clock,
        once: OnceLog,
        leases: Leases,
        lost: LostWrites,
    ) -> None:
        self._connection = connection
        self._keys = keys
        self._epoch = epoch
        self._numbers = count(1)
        self._clock = clock
        self._once = once
        self._leases = leases
        self._lost = lost
        self._statuses = RedisStatuses(connection, keys, leases)
        self._held = HeldEnvironments()
        # Environments of which more is held than Redis has: to be restored.
        self._ahead: set[EnvironmentId] = set()
        # The epoch that began here and its fencing number; none after a write without an answer.
        self._begun: dict[EnvironmentId, tuple[str, int]] = {}
        self._reading: KeyedLocks[EnvironmentId] = KeyedLocks()
        self._listed = ReplicatedSet(connection, keys.environments)
        self._lookups = Lookups(connection, keys)

    async def close(self) -> None:
        """Stop all lookups."""
        await self._lookups.close()

    async def environments(self) -> Mapping[EnvironmentId, Revision]:
        """See ``ConfigReader``; an environment that Redis has lost counts as held."""
        names = await self._listed.environments()
        states = await self._lookups.states(names)
        found = {name: state for name, state in states.items() if isinstance(state, Revision)}
        known = frozenset(names)
        lost = []
        for name, config in self._held.configs().items():
            state = states.get(name)
            if isinstance(state, StoreUnavailable) and not isinstance(state, StoreUnreadable):
                # A node of the Cluster is away, or another program wrote there: nothing is known to be newer.
                found[name] = config.revision
                continue
            seen = self._held[name].seen
            if config.revision != seen:
                self._ahead.add(name)
            if name in self._ahead or name not in found or self._held[name].may_be_after(found[name]):
                lost.append(name)
        for name, current in zip(lost, await asyncio.gather(*map(self._current, lost)), strict=True):
            if current is not None:
                found[name] = current.revision
                if name not in known and self._leases.fence(name) is not None:
                    await self._listed.add(name)
        if not lost:
            self._once.forget(_EMPTIED)
            self._once.forget(_WENT_BACK)
        await self._statuses.rewrite_missing(known)
        return found

    async def _current(self, environment: EnvironmentId) -> EnvironmentConfig | None:
        # A failure concerns this environment only.
        with suppress(StoreUnavailable):
            return await self.environment(environment)
        return self.held_config(environment)

    def held(self) -> Mapping[EnvironmentId, Revision]:
        """The revisions that were read or written last, and are served while Redis has none."""
        return {name: config.revision for name, config in self._held.configs().items()}

    def held_config(self, environment: EnvironmentId) -> EnvironmentConfig | None:
        """One of these environments."""
        return self._held[environment].config

    def hold(self, config: EnvironmentConfig) -> None:
        """Serve ``config`` while Redis does not have its environment, unless one is held already."""
        held = self._held[config.id]
        if held.config is None:
            self._held[config.id] = msgspec.structs.replace(held, config=config)

    async def revision(self, environment: EnvironmentId) -> Revision | None:
        """The environment's revision now, or ``None`` if Redis does not have it."""
        found = await self._lookups.revision(environment)
        held = self._held[environment]
        return held.config.revision if held.config is not None and found == held.seen else found

    async def environment(self, environment: EnvironmentId) -> EnvironmentConfig | None:
        """See ``ConfigReader``."""
        async with self._reading.held(environment):
            config, _ = await self._read(environment)
            return config

    async def recent(self, environment: EnvironmentId, since: float) -> Sequence[RecentChange]:
        """See ``ConfigReader``; limited to the last 2,000 changes."""
        answer = await self._lookups.recent(environment, since)
        with translated():
            return rows.recent(answer, since)

    async def replace(self, config: EnvironmentConfig) -> Revision:
        """See ``ConfigWriter``."""
        revision = await self._write(config.id, lambda old: merge(old, config))
        assert revision is not None  # noqa: S101  (merge makes an environment of nothing)
        return revision

    async def apply(self, environment: EnvironmentId, edit: Edit) -> Revision | None:
        """See ``ConfigWriter``."""
        return await self._write(environment, lambda old: None if old is None else apply_edit(old, edit))

    async def remove(self, environment: EnvironmentId) -> None:
        """See ``ConfigWriter``; a mark remains in Redis, or other members would restore the environment."""
        async with self._reading.held(environment):
            arguments: list[Argument] = [
                self._leases.member,
                self._own_fence(environment),
                self._keys.notices,
                environment,
            ]
            life = await self._connection.run(scripts.REMOVE, self._lookups.keys_of(environment), arguments)
            if life < 0:
                raise _fenced(environment)
            held = self._held[environment]
            self._held[environment] = msgspec.structs.replace(held, config=None, life=life)
            self._statuses.forget(environment)
            await self._listed.remove(environment)

    @asynccontextmanager
    async def _watching(self) -> AsyncIterator[AsyncIterator[Notice]]:
        async with self._connection.subscribed(self._keys.notices) as payloads:
            yield rows.notices(payloads)

    def watch(self) -> AbstractAsyncContextManager[AsyncIterator[Notice]]:
        """See ``ChangeSource``; the iterator raises ``StoreUnavailable`` when the connection is lost."""
        return self._watching()

    async def set_status(self, environment: EnvironmentId, status: UpstreamStatus) -> None:
        """See ``StatusStore``; ignored unless this member leads the environment."""
        await self._statuses.set(environment, status)

    async def statuses(self) -> Mapping[EnvironmentId, UpstreamStatus]:
        """See ``StatusStore``."""
        return await self._statuses.all()

    async def _read(self, environment: EnvironmentId) -> tuple[EnvironmentConfig | None, Revision]:
        """As ``_read_once``; a leader treats an unreadable environment as lost."""
        try:
            return await self._read_once(environment)
        except StoreUnreadable as error:
            fence = self._leases.fence(environment)
            if not fence:  # or nothing is fenced
                raise
            self._once.warning(_UNREADABLE, environment, error=str(error))
            await self._connection.run(
                scripts.DISCARD, self._lookups.keys_of(environment), [self._leases.member, fence]
            )
        return await self._read_once(environment)

    async def _read_once(self, environment: EnvironmentId) -> tuple[EnvironmentConfig | None, Revision]:
        """The environment as held after reading, and the revision that a write must still find in Redis."""
        held = self._held[environment]
        in_step = held.config is not None and held.config.revision == held.seen
        answer = await self._lookups.read(environment, NEVER if environment in self._ahead else held.seen)
        if answer[0] == b"part" and not in_step:
            # The held state has more than Redis had, so changes are not enough.
            answer = await self._lookups.read(environment, NEVER)
        self._ahead.discard(environment)
        with translated():
            kind, now = answer[0].decode(), Revision(answer[1].decode(), rows.number(answer[2]))
            fence, life = rows.number(answer[3]), rows.number(answer[4])
            if kind == "same":
                return held.config, now
            self._leases.note_fence(environment, fence)
            if kind == "absent":
                if held.config is None:
                    return None, now
                held = msgspec.structs.replace(held, seen=now)
                self._held[environment] = held
                return await self._restore(held, None)
            older = (fence, life, now.counter) < (held.fence, held.life, held.seen.counter)
            if older and held.config is None:
                return None, now  # it was removed
            fresh = Held(None, now, max(fence, held.fence), max(life, held.life))
            if kind == "removed":
                found = None
            else:
                found = rows.environment((*answer[1:3], *answer[5:]), held.config if kind == "part" else None)
        if kind == "whole" and held.fence == self._leases.fence(environment):
            # Another member wrote although this one leads, or an older state is back.
            self._lost.note(environment)
        if held.config is not None and (older or (kind == "whole" and life <= held.life)):
            return await self._join(held, found, fresh, older=older)
        self._held[environment] = msgspec.structs.replace(fresh, config=found)
        return found, now

    async def _join(
        self, held: Held, found: EnvironmentConfig | None, fresh: Held, *, older: bool
    ) -> tuple[EnvironmentConfig, Revision]:
        """Join both states, and write to Redis what it lacks."""
        assert held.config is not None  # noqa: S101  (every caller has checked)
        name = held.config.id
        if found is None:
            newest = held.config
        else:
            newest = joined(held.config, found, older=older)
            if newest is found:
                self._held[name] = msgspec.structs.replace(fresh, config=found)
                return found, fresh.seen
        if newest is not held.config:
            # Redis does not have this state yet, so it needs a revision of its own.
            counter = max(fresh.seen.counter, held.config.revision.counter)
            newest = msgspec.structs.replace(newest, revision=Revision(self._next_epoch(), counter))
        known = msgspec.structs.replace(fresh, config=newest)
        self._held[name] = known
        return await self._restore(known, found)

    async def _restore(
        self, held: Held, found: EnvironmentConfig | None
    ) -> tuple[EnvironmentConfig, Revision]:
        """Write to Redis, which has ``found``, what it has lost of ``held``; returns as ``_read_once``.

        Only the leader writes a whole environment. Any member may add items: that undoes nothing, and the
        leader may not know them.
        """
        config = held.config
        assert config is not None  # noqa: S101  (every caller has checked)
        self._once.warning(_EMPTIED if found is None else _WENT_BACK, environment=config.id)
        self._statuses.note_lost(config.id)
        self._lost.note(config.id)
        for _ in range(2):  # a lost lease is acquired again
            leads = self._leases.leads(config.id)
            if not leads and (found is None or not _adds(difference(found, config))):
                break
            mode = "join" if not leads else "whole" if found is None else "begin"
            try:
                written = await self._commit(found, config, held.seen, mode, least=config.revision.counter)
            except StoreUnavailable as error:
                self._once.trouble(_NOT_YET, error, config.id)
                break
            if written is not None:
                self._once.forget(_NOT_YET, config.id)
                return written, written.revision
        return config, held.seen

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
                    await self._claim(environment)
                    return new.revision
                if old is None:
                    new = msgspec.structs.replace(new, since=self._clock.wall())
                in_step = old is not None and old.revision == expected
                mode = self._mode(environment, expected) if in_step else "whole"
                least = max(0 if old is None else old.revision.counter, self._held[environment].seen.counter)
                written = await self._commit(old if in_step else None, new, expected, mode, least=least)
                if written is not None:
                    return written.revision
        raise StoreUnavailable(f"environment {environment} is being written by others all the time")

    def _mode(self, environment: EnvironmentId, expected: Revision) -> str:
        begun = self._begun.get(environment) == (expected.epoch, self._leases.fence(environment))
        return "part" if begun else "begin"

    async def _claim(self, environment: EnvironmentId) -> None:
        """Mark the environment as current under this lease, although nothing changed."""
        fence, held = self._leases.fence(environment), self._held[environment]
        if fence is not None and fence > held.fence:
            keys = [self._keys.config(environment), self._keys.lease(environment)]
            if await self._connection.run(scripts.CLAIM, keys, [self._leases.member, fence]):
                self._held[environment] = msgspec.structs.replace(held, fence=fence)

    async def _commit(
        self,
        old: EnvironmentConfig | None,
        new: EnvironmentConfig,
        expected: Revision,
        mode: str,
        *,
        least: int = 0,
    ) -> EnvironmentConfig | None:
        """Write the difference from ``old``, which Redis has at ``expected``, to ``new``; or all of it.

        Returns ``None`` if another member wrote first, or if the lease had to be acquired again.
        """
        await self._listed.add(new.id)
        fence, now = 0 if mode == "join" else self._own_fence(new.id), self._clock.wall()
        held, epoch = self._held[new.id], self._next_epoch()
        change = difference(old, new)
        arguments: list[Argument] = [
            expected.epoch,
            str(expected.counter),
            self._leases.member,
            fence,
            epoch,
            str(least),
            mode,
            self._keys.notices,
            new.id,
            _encode(new.info),
            _encode(sorted(new.keys)),
            repr(new.since),
            repr(now),
            held.life,
            len(change.forgotten),
            *change.forgotten,
        ]
        for field, row in rows.changed(old, change, now):
            arguments += (field, row)
        begun = self._begun.pop(new.id, None)
        answer = await self._connection.run(scripts.COMMIT, self._lookups.keys_of(new.id), arguments)
        outcome = answer[0].decode()
        if outcome == "leaseless" and await self._leases.acquire(new.id):
            # Redis was emptied, or this process slept: nobody has led since, but the held state may be old.
            self._lost.note(new.id)
            return None
        if outcome in {"fenced", "leaseless"}:
            raise _fenced(new.id)
        if outcome == "moved":
            return None
        written = msgspec.structs.replace(new, revision=Revision(answer[1].decode(), int(answer[2])))
        if mode != "join":
            self._begun[new.id] = begun if mode == "part" and begun is not None else (epoch, fence)
        self._held[new.id] = Held(written, written.revision, max(fence, held.fence), held.life)
        return written

    def _next_epoch(self) -> str:
        return f"{self._epoch}.{next(self._numbers)}"

    def _own_fence(self, environment: EnvironmentId) -> int:
        fence = self._leases.fence(environment)
        if fence is None:
            raise _fenced(environment)
        return fence


def _adds(change: Difference) -> bool:
    return bool(change.changed or change.retired)


def _fenced(environment: EnvironmentId) -> StoreUnavailable:
    return StoreUnavailable(f"another member of the fleet writes environment {environment} now")
