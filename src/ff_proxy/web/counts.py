"""Counting requests without paying for it on the fast path."""

from typing import Final, final

from ff_proxy.model.keys import EnvironmentId
from ff_proxy.snapshots.registry import SnapshotRegistry
from ff_proxy.telemetry import Telemetry
from ff_proxy.web.paths import Place, Resource

_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "POST"})
_UNCOUNTED: Final = frozenset({Resource.HEALTH, Resource.LIVE, Resource.READY, Resource.METRICS})


@final
class Tally:
    """Requests of one kind since the last fold."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


class Counts:
    """Requests by route, environment, status and method; folded into the figures now and then.

    Labels are bounded: only environments that are loaded are named, other paths are ``other``.
    """

    def __init__(self, telemetry: Telemetry, snapshots: SnapshotRegistry) -> None:
        self._requests = telemetry.metrics.requests
        self._snapshots = snapshots
        self._tallies: dict[tuple[str, EnvironmentId, int, str], Tally] = {}

    def tally(self, place: Place | None, status: int, method: str) -> Tally:
        """Where to count requests of that kind; the health and figures of the proxy are not counted."""
        if place is None:
            return self._held("other", EnvironmentId(""), status, method)
        if place.resource in _UNCOUNTED:
            return Tally()
        return self._held(place.resource.value, self.environment(place), status, method)

    def environment(self, place: Place) -> EnvironmentId:
        """The environment to name in a label: none but loaded ones."""
        known = self._snapshots.get(place.environment) is not None
        return place.environment if known else EnvironmentId("")

    def fold(self) -> None:
        """Move what was counted into the figures."""
        for (route, environment, status, method), tally in self._tallies.items():
            if tally.count:
                self._requests.labels(route, environment, str(status), method).inc(tally.count)
                tally.count = 0

    def _held(self, route: str, environment: EnvironmentId, status: int, method: str) -> Tally:
        key = (route, environment, status, method if method in _METHODS else "other")
        tally = self._tallies.get(key)
        if tally is None:
            tally = self._tallies[key] = Tally()
        return tally
