"""The readiness of a process, for probes and people."""

import msgspec


class Readiness(msgspec.Struct, frozen=True):
    """Facts about the configured keys and their environments; texts are for people and name no raw key.

    ``loaded`` counts environments whose configuration is held. ``pending`` names keys and environments
    that are still being tried, ``refused`` those that Harness definitely refused. ``degraded`` says what
    works on old data only; it never makes a loaded proxy unready (spec/behaviour#readiness).
    """

    loaded: int = 0
    pending: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    degraded: tuple[str, ...] = ()

    @property
    def ready(self) -> bool:
        """Every environment loaded or definitely refused, at least one loaded."""
        return self.loaded > 0 and not self.pending

    def with_degraded(self, *reasons: str) -> "Readiness":
        """The same with more reasons to be degraded."""
        return msgspec.structs.replace(self, degraded=(*self.degraded, *reasons))

    @property
    def state(self) -> str:
        """``starting``, ``ready``, or ``degraded``: ready, but something works on old data only."""
        if not self.ready:
            return "starting"
        return "degraded" if self.degraded else "ready"
