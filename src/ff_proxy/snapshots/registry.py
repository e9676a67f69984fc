"""The registry of snapshots: it follows the store, compiles, swaps, and only then announces."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from typing import Final, Protocol

import msgspec

from ff_proxy.errors import StoreError, StoreUnavailable
from ff_proxy.model.clock import Clock
from ff_proxy.model.environment import Change
from ff_proxy.model.keys import EnvironmentId, SdkKeyHash
from ff_proxy.model.readiness import Readiness
from ff_proxy.snapshots.snapshot import CompileOptions, Snapshot
from ff_proxy.store.protocol import ChangeSource, ConfigReader
from ff_proxy.telemetry import Telemetry

REPLAY_SECONDS: Final = 120.0
"""A new stream replays the changes of this many seconds (spec/behaviour#streaming)."""


class Announcement(msgspec.Struct, frozen=True):
    """An environment's snapshot was swapped; requests already see ``snapshot``.

    ``snapshot`` is ``None`` if the environment was removed, ``previous`` if it is new. ``changes`` are the
    differences between their items; for a new environment, the changes that the store recorded in the last
    ``REPLAY_SECONDS``, before this process loaded it. ``revoked`` are the keys that are no longer valid.
    """

    environment: EnvironmentId
    snapshot: Snapshot | None
    previous: Snapshot | None
    changes: tuple[Change, ...]
    revoked: frozenset[SdkKeyHash]


_MAX_CONCURRENT_READS: Final = 32

Listener = Callable[[Announcement], None]


class _Source(ConfigReader, ChangeSource, Protocol):
    """The store that the registry follows."""


class _SingleFlight:
    """Serialises one environment's reads, so that an older read cannot finish last."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.requested = 0
        self.done = 0


class SnapshotRegistry:
    """Every environment's current snapshot, by id and by SDK key.

    A notice is only a hint; the store's revision decides. Revisions are also compared on a timer, so a lost
    notice costs at most one ``interval`` (seconds), never correctness. After a store failure, the registry
    tries again in ``retry`` seconds.
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
        self._removed: set[EnvironmentId] = set()
        self._flights: dict[EnvironmentId, _SingleFlight] = {}
        # Environments whose last read failed, and why.
        self._unread: dict[EnvironmentId, str] = {}

    def get(self, environment: EnvironmentId) -> Snapshot | None:
        """The environment's snapshot, or ``None`` while it is not loaded."""
        return self._current.get(environment)

    def all(self) -> Mapping[EnvironmentId, Snapshot]:
        """Every loaded environment's snapshot, as a live mapping: do not hold on to it."""
        return self._current

    @property
    def names(self) -> AbstractSet[EnvironmentId]:
        """Every loaded environment, as a live set."""
        return self._current.keys()

    def removed(self, environment: EnvironmentId) -> bool:
        """Whether the environment was loaded until it was removed from the store."""
        return environment in self._removed

    def environment_of(self, key: SdkKeyHash) -> EnvironmentId | None:
        """The loaded environment that a key belongs to."""
        return self._keys.get(key)

    def listen(self, listener: Listener) -> None:
        """Call ``listener`` after every swap, in the event loop's thread; it must not block or raise."""
        self._listeners.append(listener)

    async def run(self) -> None:
        """Follow the store until cancelled; ``ready`` is set once the store's content at start is loaded."""
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
                        await self._catch_up([notice.environment])
            except StoreError as error:
                self._once.trouble("store unavailable, serving what is loaded", error)
                # It may be readable without notices: a Redis user may have no right to channels.
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
        """Compare every revision with the store's and catch up if they differ."""
        stored = await self._source.environments()
        changed = [
            environment
            for environment in {*stored, *self._current}
            if (current := self._current.get(environment)) is None
            or current.revision != stored.get(environment)
        ]
        failures: list[StoreUnavailable] = []
        for start in range(0, len(changed), _MAX_CONCURRENT_READS):
            # On the network, concurrent reads take little longer than one.
            failures += await self._catch_up(changed[start : start + _MAX_CONCURRENT_READS])
        for gone in self._unread.keys() - set(changed):
            del self._unread[gone]
        if failures and len(failures) == len({*stored, *self._current}):
            raise failures[0]

    def merge_into(self, readiness: Readiness) -> Readiness:
        """Add the environments that cannot be read, unless something is said of them already."""
        found = [
            f"environment {environment}: not read from the store: {error}"
            for environment, error in self._unread.items()
            if not any(environment in reason or error in reason for reason in readiness.degraded)
        ]
        return readiness.with_degraded(*found)

    async def _catch_up(self, environments: Sequence[EnvironmentId]) -> list[StoreUnavailable]:
        """Refresh each; one that cannot be read stays as it is, and no other waits for it."""
        outcomes = await asyncio.gather(*map(self.refresh, environments), return_exceptions=True)
        failures: list[StoreUnavailable] = []
        for environment, outcome in zip(environments, outcomes, strict=True):
            if isinstance(outcome, StoreUnavailable):
                failures.append(outcome)
                self._unread[environment] = str(outcome)
                self._once.trouble("environment not read from the store", outcome, environment)
            elif isinstance(outcome, BaseException):
                raise outcome
            elif self._unread.pop(environment, None) is not None:
                self._once.forget("environment not read from the store", environment)
        return failures

    async def refresh(self, environment: EnvironmentId) -> None:
        """Bring the snapshot up to date with the store; concurrent callers share one read."""
        flight = self._flights.setdefault(environment, _SingleFlight())
        flight.requested = ticket = flight.requested + 1
        async with flight.lock:
            if flight.done >= ticket:
                return  # a read that began after this call has finished
            covers = flight.requested
            config = await self._source.environment(environment)
            previous = self._current.get(environment)
            if config is None:
                if previous is not None:
                    self._drop(previous)
            elif previous is None:
                recent = await self._source.recent(environment, self._clock.wall() - REPLAY_SECONDS)
                first = Snapshot(config, self._options)
                self._swap(None, first, tuple(entry.change for entry in recent))
            elif previous.revision != config.revision:
                snapshot = Snapshot(config, self._options, previous=previous)
                self._swap(previous, snapshot, snapshot.changes_since(previous))
            flight.done = covers
            if flight.done == flight.requested and environment not in self._current:
                # Clients may name unknown environments: keep no state for those.
                self._flights.pop(environment, None)

    def _swap(self, previous: Snapshot | None, snapshot: Snapshot, changes: tuple[Change, ...]) -> None:
        before = frozenset[SdkKeyHash]() if previous is None else previous.keys
        self._current[snapshot.environment] = snapshot
        self._removed.discard(snapshot.environment)
        self._keys.update(dict.fromkeys(snapshot.keys - before, snapshot.environment))
        revoked = self._forget_keys(before - snapshot.keys, snapshot.environment)
        self._announce(Announcement(snapshot.environment, snapshot, previous, changes, revoked))

    def _drop(self, previous: Snapshot) -> None:
        del self._current[previous.environment]
        self._removed.add(previous.environment)
        revoked = self._forget_keys(previous.keys, previous.environment)
        self._announce(Announcement(previous.environment, None, previous, (), revoked))

    def _forget_keys(self, keys: Iterable[SdkKeyHash], environment: EnvironmentId) -> frozenset[SdkKeyHash]:
        removed = frozenset(keys)
        for key in removed:
            if self._keys.get(key) == environment:
                del self._keys[key]
        return removed

    def _announce(self, announcement: Announcement) -> None:
        self._log.debug(
            "snapshot swapped", environment=announcement.environment, changes=len(announcement.changes)
        )
        for listener in self._listeners:
            listener(announcement)
