"""A Prometheus counter of the SDKs that post usage; bounded, although clients choose the labels."""

from typing import Final

from prometheus_client import Counter

from ff_proxy.model.keys import EnvironmentId
from ff_proxy.wire.usage import SdkLabels

_LABEL_LENGTH: Final = 40
_OTHER: Final = SdkLabels("other", "other", "other")


class SdkCounter:
    """Counts posts by SDK; beyond ``capacity`` different SDKs, new ones count as ``other``."""

    def __init__(self, counter: Counter, capacity: int = 200) -> None:
        self._counter = counter
        self._capacity = capacity
        self._series: dict[tuple[EnvironmentId, SdkLabels], Counter] = {}

    def count(self, environment: EnvironmentId, sdk: SdkLabels) -> None:
        """Count one post of ``sdk``."""
        label = SdkLabels(sdk.type[:_LABEL_LENGTH], sdk.version[:_LABEL_LENGTH], sdk.language[:_LABEL_LENGTH])
        series = self._series.get((environment, label))
        if series is None:
            if len(self._series) < self._capacity:
                series = self._counter.labels(environment, label.type, label.version, label.language)
                self._series[environment, label] = series
            else:
                series = self._counter.labels(environment, _OTHER.type, _OTHER.version, _OTHER.language)
        series.inc()
