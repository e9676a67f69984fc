"""Readiness that is never withdrawn (spec/behaviour#readiness)."""

from collections.abc import Callable
from typing import final

from msgspec.structs import replace

from ff_proxy.api.ports import LoadedEnvironments
from ff_proxy.model.readiness import Readiness


@final
class StickyReadiness:
    """Keeps a proxy ready once it was, even if the sync process restarts or the store loses its data.

    Args:
        current: returns the readiness of the sync process or store.
        loaded: the environments this process serves.
    """

    def __init__(self, current: Callable[[], Readiness], loaded: LoadedEnvironments) -> None:
        self._current = current
        self._loaded = loaded
        self._was_ready = False

    def __call__(self) -> Readiness:
        """The current readiness; once ready, pending reasons count as ``degraded`` while data is served."""
        state = self._current()
        if state.ready:
            self._was_ready = True
        elif self._was_ready and (served := len(self._loaded.names)):
            degraded = (*state.degraded, *state.pending)
            return replace(state, loaded=max(state.loaded, served), pending=(), degraded=degraded)
        return state
