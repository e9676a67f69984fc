"""Counts OFREP evaluations as usage, as SDKs do themselves (spec/behaviour#ofrep)."""

from collections import Counter
from collections.abc import Iterable
from typing import Final

from ff_proxy.model.clock import Clock, milliseconds
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.usage import UsageCount
from ff_proxy.usage.intake import Intake
from ff_proxy.wire.usage import evaluation_key

_OTHERS: Final = "ofrep"
# Parts of the user agents of providers and their HTTP libraries; all others count as one.
_LANGUAGES: Final = {
    b"python": "python",
    b"go-http-client": "go",
    b"java": "java",
    b"node": "javascript",
    b"undici": "javascript",
    b"mozilla": "javascript",
    b"dotnet": ".NET",
    b"ruby": "ruby",
    b"php": "PHP",
    b"okhttp": "java",
}


Served = tuple[str, str]
"""A flag and the variation served."""


class OfrepUsage:
    """Adds up evaluations until the intake collects them.

    Its size is bounded: it counts by flag, variation and one of a few languages.

    Args:
        intake: moves counts into the store.
        clock: time.
    """

    def __init__(self, intake: Intake, clock: Clock) -> None:
        self._clock = clock
        self._counts: dict[tuple[EnvironmentId, str], Counter[Served]] = {}
        self._notify = intake.pull(self._drain)

    def count(self, environment: EnvironmentId, given: Iterable[Served], agent: bytes | None) -> None:
        """Count variations served to a client with that user agent."""
        if self._notify is None:
            return
        language = _language(agent)
        counts = self._counts.get((environment, language))
        if counts is None:
            counts = self._counts[environment, language] = Counter()
        counts.update(given)
        self._notify()

    def _drain(self) -> Iterable[tuple[EnvironmentId, Iterable[UsageCount]]]:
        counted, self._counts = self._counts, {}
        now = milliseconds(self._clock)
        return [
            (
                environment,
                [
                    UsageCount(evaluation_key(environment, flag, variation, language), count, now)
                    for (flag, variation), count in counts.items()
                ],
            )
            for (environment, language), counts in counted.items()
        ]


def _language(agent: bytes | None) -> str:
    lowered = (agent or b"").lower()
    return next((language for name, language in _LANGUAGES.items() if name in lowered), _OTHERS)
