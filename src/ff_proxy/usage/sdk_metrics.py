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
        shown = SdkLabels(sdk.type[:_LABEL_LENGTH], sdk.version[:_LABEL_LENGTH], sdk.language[:_LABEL_LENGTH])
        series = self._series.get((environment, shown))
        if series is None:
            if len(self._series) < self._capacity:
                series = self._counter.labels(environment, shown.type, shown.version, shown.language)
                self._series[environment, shown] = series
            else:
                series = self._counter.labels(environment, _OTHER.type, _OTHER.version, _OTHER.language)
        series.inc()
