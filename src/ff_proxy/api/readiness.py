"""What has been ready stays ready (spec/behaviour#readiness)."""

from collections.abc import Callable
from typing import final

from msgspec.structs import replace

from ff_proxy.api.ports import LoadedEnvironments
from ff_proxy.model.readiness import Readiness


@final
class LastingReadiness:
    """Readiness that a new sync process, or a store that lost its data, does not take back.

    Args:
        current: the readiness as those who load the data see it.
        loaded: what this process serves.
    """

    def __init__(self, current: Callable[[], Readiness], loaded: LoadedEnvironments) -> None:
        self._current = current
        self._loaded = loaded
        self._was_ready = False

    def __call__(self) -> Readiness:
        """The readiness; once it was ready and while data is served, what is pending is ``degraded``."""
        state = self._current()
        if state.ready:
            self._was_ready = True
        elif self._was_ready and (served := len(self._loaded.names)):
            degraded = (*state.degraded, *state.pending)
            return replace(state, loaded=max(state.loaded, served), pending=(), degraded=degraded)
        return state
