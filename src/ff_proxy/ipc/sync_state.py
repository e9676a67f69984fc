"""A worker's readiness: the sync process's state, and whether the worker has loaded as much."""

import asyncio
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import Final

from ff_proxy.errors import StoreUnavailable
from ff_proxy.ipc.shared_generations import SharedGenerations
from ff_proxy.ipc.store import IpcStore
from ff_proxy.model.clock import Clock
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.readiness import Readiness

_STARTING_SECONDS: Final = 0.1
_SECONDS: Final = 1.0
_AWAY: Final = "the sync process is not reachable, serving what is loaded"


class SyncState:
    """The service that polls the sync process's state and sends it pending writes.

    A worker is ready once the sync process has been ready, for any worker, and everything that it holds is
    loaded here. After that, a failure of the sync process makes it degraded, never unready
    (spec/behaviour#readiness). ``loaded`` are the environments that this worker has loaded.
    """

    name = "sync state"

    def __init__(
        self,
        store: IpcStore,
        loaded: Callable[[], AbstractSet[EnvironmentId]],
        shared: SharedGenerations,
        clock: Clock,
    ) -> None:
        self.ready = asyncio.Event()
        self._store = store
        self._loaded = loaded
        self._shared = shared
        self._clock = clock
        self._away = False

    async def run(self) -> None:
        """Poll until cancelled."""
        while True:
            await self.poll()
            await self._clock.sleep(_SECONDS if self.ready.is_set() else _STARTING_SECONDS)

    async def poll(self) -> None:
        """Poll once."""
        try:
            await self._store.state()
            await self._store.targets.flush_pending()
            self._away = False
        except StoreUnavailable:
            self._away = True
        state = self._store.last_state
        if state is None:
            return
        if state.readiness.ready:
            self._shared.mark_ready()
        # A new sync process looks again for what its predecessor had; what that held is served meanwhile.
        held = state.held
        if held and self._shared.was_ready and not self._missing(held):
            self.ready.set()

    def readiness(self) -> Readiness:
        """This worker's readiness."""
        state = self._store.last_state
        if state is None:
            return Readiness(pending=("the sync process has not been reached yet",))
        sync, unloaded = state.readiness, self._missing(state.held)
        loaded = len(state.held) - len(unloaded)
        degraded = (*sync.degraded, *([_AWAY] if self._away else []))
        if self.ready.is_set():
            return Readiness(loaded, refused=sync.refused, degraded=(*degraded, *sync.pending))
        missing = [f"environment {name}: not loaded by this process yet" for name in unloaded]
        return Readiness(loaded, (*sync.pending, *missing), sync.refused, degraded)

    def environments(self) -> AbstractSet[EnvironmentId]:
        """The environments that ``/health`` lists."""
        state = self._store.last_state
        return frozenset() if state is None else state.environments

    def settled(self) -> bool:
        """Whether no others than ``environments`` can come to be served."""
        return self._store.last_state is not None and self._store.last_state.settled

    def _missing(self, held: AbstractSet[EnvironmentId]) -> list[EnvironmentId]:
        return sorted(held - self._loaded())
