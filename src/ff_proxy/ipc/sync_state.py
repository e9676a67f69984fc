"""How far a worker has come: what the sync process says of itself, and whether the worker holds as much."""

import asyncio
from collections.abc import Set as AbstractSet
from typing import Final, Protocol

from ff_proxy.errors import StoreUnavailable
from ff_proxy.ipc.messages import State
from ff_proxy.ipc.store import IpcStore
from ff_proxy.model.clock import Clock
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.readiness import Readiness
from ff_proxy.snapshots.snapshot import Snapshot

_STARTING_SECONDS: Final = 0.1
_SECONDS: Final = 1.0
_AWAY: Final = "the sync process is away: what is loaded is served"


class _Snapshots(Protocol):
    def get(self, environment: EnvironmentId) -> Snapshot | None:
        """The environment's snapshot, or ``None`` while it is not loaded."""
        ...


class SyncState:
    """The service that asks the sync process how it is doing, and hands over what is owed to it.

    A worker is ready once the sync process was and everything that it held is loaded here. Afterwards nothing
    that happens to the sync process makes it unready again, only degraded (spec/behaviour#readiness).
    """

    name = "sync state"

    def __init__(self, store: IpcStore, snapshots: _Snapshots, clock: Clock) -> None:
        self.ready = asyncio.Event()
        self._store = store
        self._snapshots = snapshots
        self._clock = clock
        self._told: State | None = None
        self._away = False

    async def run(self) -> None:
        """Ask until cancelled."""
        while True:
            await self.look()
            await self._clock.sleep(_SECONDS if self.ready.is_set() else _STARTING_SECONDS)

    async def look(self) -> None:
        """Ask once."""
        try:
            self._told = await self._store.state()
            await self._store.targets.pay()
        except StoreUnavailable:
            self._away = True
            return
        self._away = False
        if self._told.readiness.ready and not self._missing(self._told.held):
            self.ready.set()

    def readiness(self) -> Readiness:
        """This worker's."""
        told = self._told
        if told is None:
            return Readiness(pending=("the sync process has not been reached yet",))
        sync = told.readiness
        loaded = len(told.held) - len(self._missing(told.held))
        degraded = (*sync.degraded, *([_AWAY] if self._away else []))
        if self.ready.is_set():
            return Readiness(loaded, refused=sync.refused, degraded=(*degraded, *sync.pending))
        missing = [f"environment {name}: not loaded by this process yet" for name in self._missing(told.held)]
        return Readiness(loaded, (*sync.pending, *missing), sync.refused, degraded)

    def environments(self) -> AbstractSet[EnvironmentId]:
        """Those that ``/health`` speaks of."""
        return self._told.environments if self._told is not None else frozenset()

    @property
    def alone(self) -> AbstractSet[EnvironmentId]:
        """Those that only the sync process has, since the store that is shared has not answered yet."""
        return self._told.alone if self._told is not None else frozenset()

    def _missing(self, held: AbstractSet[EnvironmentId]) -> list[EnvironmentId]:
        return sorted(name for name in held if self._snapshots.get(name) is None)
