"""The registry of snapshots: follows the store, compiles, swaps, and only then announces."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Final, Protocol

import msgspec

from ff_proxy.errors import StoreError
from ff_proxy.model.clock import Clock
from ff_proxy.model.environment import Change
from ff_proxy.model.keys import EnvironmentId, SdkKeyHash
from ff_proxy.snapshots.snapshot import CompileOptions, Snapshot
from ff_proxy.store.protocol import ChangeSource, ConfigReader
from ff_proxy.telemetry import Telemetry

RECENT: Final = 120.0
"""How many seconds back a stream that opens now is told of changes (spec/behaviour#streaming)."""


class Announcement(msgspec.Struct, frozen=True):
    """An environment's snapshot was swapped: requests see ``snapshot`` already.

    ``snapshot`` is ``None`` when the environment is gone, ``previous`` when it is new here. ``changes`` are
    the differences of items (of a new environment: those that the store took in within the last
    ``RECENT`` seconds, before this process was there), ``revoked`` the keys that are valid no more.
    """

    environment: EnvironmentId
    snapshot: Snapshot | None
    previous: Snapshot | None
    changes: tuple[Change, ...]
    revoked: frozenset[SdkKeyHash]


_AT_ONCE: Final = 32

Listener = Callable[[Announcement], None]


class _Source(ConfigReader, ChangeSource, Protocol):
    """What the registry follows."""


class _Gate:
    """One environment's turnstile: reads never overlap, so that an older one cannot finish last."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.asked = 0
        self.covered = 0


class SnapshotRegistry:
    """Every environment's current snapshot, by id and by SDK key.

    A notice only says where to look: the store's revision decides, and is compared on a timer as well, so
    that a lost notice costs one ``interval`` (seconds) and never correctness. A store that has gone away is
    looked for again after ``retry`` seconds.
    """

    name = "snapshots"

    def __init__(
        self,
        source: _Source,
        options: CompileOptions,
        clock: Clock,
        telemetry: Telemetry,
        *,
        interval: float = 5.0,
        retry: float = 1.0,
    ) -> None:
        self.ready = asyncio.Event()
        self._source = source
        self._options = options
        self._clock = clock
        self._log = telemetry.logger("snapshots")
        self._once = telemetry.once("snapshots")
        self._interval = interval
        self._retry = retry
        self._current: dict[EnvironmentId, Snapshot] = {}
        self._keys: dict[SdkKeyHash, EnvironmentId] = {}
        self._listeners: list[Listener] = []
        self._gates: dict[EnvironmentId, _Gate] = {}

    def get(self, environment: EnvironmentId) -> Snapshot | None:
        """The environment's snapshot, or ``None`` while it is not loaded."""
        return self._current.get(environment)

    def all(self) -> Mapping[EnvironmentId, Snapshot]:
        """Every loaded environment's snapshot; the mapping is live, do not keep it."""
        return self._current

    def environment_of(self, key: SdkKeyHash) -> EnvironmentId | None:
        """The loaded environment that a key belongs to."""
        return self._keys.get(key)

    def listen(self, listener: Listener) -> None:
        """Call ``listener`` after every swap, in the event loop's thread; it must not block or raise."""
        self._listeners.append(listener)

    async def run(self) -> None:
        """Follow the store until cancelled; ``ready`` once everything that it held at start is loaded."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow())
            group.create_task(self._compare())

    async def _follow(self) -> None:
        while True:
            try:
                async with self._source.watch() as notices:
                    await self.resync()
                    self.ready.set()
                    async for notice in notices:
                        await self.refresh(notice.environment)
            except StoreError as error:
                self._once.trouble("store unavailable, serving what is loaded", error)
                # It may answer although it gives no notice: a Redis user without rights to channels.
                with suppress(StoreError):
                    await self.resync()
                    self.ready.set()
                await self._clock.sleep(self._retry)

    async def _compare(self) -> None:
        while True:
            await self._clock.sleep(self._interval)
            try:
                await self.resync()
            except StoreError as error:
                self._once.trouble("store unavailable, serving what is loaded", error)
            else:
                self._once.forget("store unavailable, serving what is loaded")

    async def resync(self) -> None:
        """Compare every revision with the store's and catch up where they differ."""
        held = await self._source.environments()
        moved = [
            environment
            for environment in {*held, *self._current}
            if (current := self._current.get(environment)) is None
            or current.revision != held.get(environment)
        ]
        for start in range(0, len(moved), _AT_ONCE):
            # A store on the network answers many at once in little more than the time of one.
            outcomes = await asyncio.gather(
                *map(self.refresh, moved[start : start + _AT_ONCE]), return_exceptions=True
            )
            for outcome in outcomes:
                if isinstance(outcome, BaseException):
                    raise outcome

    async def refresh(self, environment: EnvironmentId) -> None:
        """Make the snapshot equal what the store holds now; callers at the same time share one read."""
        gate = self._gates.setdefault(environment, _Gate())
        gate.asked = ticket = gate.asked + 1
        async with gate.lock:
            if gate.covered >= ticket:
                return  # a read that began after this call has ended already
            covers = gate.asked
            config = await self._source.environment(environment)
            previous = self._current.get(environment)
            if config is None:
                if previous is not None:
                    self._drop(previous)
            elif previous is None:
                recent = await self._source.recent(environment, self._clock.wall() - RECENT)
                first = Snapshot(config, self._options)
                self._swap(None, first, tuple(entry.change for entry in recent))
            elif previous.revision != config.revision:
                snapshot = Snapshot(config, self._options, previous=previous)
                self._swap(previous, snapshot, snapshot.changes_since(previous))
            gate.covered = covers
            if gate.covered == gate.asked and environment not in self._current:
                # Clients may name environments that nobody holds: nothing is kept of those.
                self._gates.pop(environment, None)

    def _swap(self, previous: Snapshot | None, snapshot: Snapshot, changes: tuple[Change, ...]) -> None:
        before = frozenset[SdkKeyHash]() if previous is None else previous.keys
        self._current[snapshot.environment] = snapshot
        self._keys.update(dict.fromkeys(snapshot.keys - before, snapshot.environment))
        revoked = self._forget_keys(before - snapshot.keys, snapshot.environment)
        self._announce(Announcement(snapshot.environment, snapshot, previous, changes, revoked))

    def _drop(self, previous: Snapshot) -> None:
        del self._current[previous.environment]
        revoked = self._forget_keys(previous.keys, previous.environment)
        self._announce(Announcement(previous.environment, None, previous, (), revoked))

    def _forget_keys(self, keys: Iterable[SdkKeyHash], environment: EnvironmentId) -> frozenset[SdkKeyHash]:
        gone = frozenset(keys)
        for key in gone:
            if self._keys.get(key) == environment:
                del self._keys[key]
        return gone

    def _announce(self, announcement: Announcement) -> None:
        self._log.debug(
            "snapshot swapped", environment=announcement.environment, changes=len(announcement.changes)
        )
        for listener in self._listeners:
            listener(announcement)
