"""Which SDKs post: a Prometheus figure whose labels clients choose, and that is bounded all the same."""

from typing import Final

from prometheus_client import Counter

from ff_proxy.model.keys import EnvironmentId
from ff_proxy.wire.usage import SdkLabels

_LABEL_LENGTH: Final = 40
_OTHER: Final = SdkLabels("other", "other", "other")


class SdkCounter:
    """Counts posts by SDK; once ``capacity`` different ones were seen, new ones count as ``other``."""

    def __init__(self, counter: Counter, capacity: int = 200) -> None:
        self._counter = counter
        self._capacity = capacity
        self._series: dict[tuple[EnvironmentId, SdkLabels], Counter] = {}

    def count(self, environment: EnvironmentId, sdk: SdkLabels) -> None:
        """One post of ``sdk``."""
        series = self._series.get((environment, sdk))
        if series is None:
            known = len(self._series) < self._capacity
            shown = sdk if known else _OTHER
            series = self._counter.labels(
                environment,
                shown.type[:_LABEL_LENGTH],
                shown.version[:_LABEL_LENGTH],
                shown.language[:_LABEL_LENGTH],
            )
            if known:
                self._series[environment, sdk] = series
        series.inc()
