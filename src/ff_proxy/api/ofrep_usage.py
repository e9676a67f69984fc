"""Counting OFREP evaluations towards Harness, as SDKs count theirs (spec/behaviour#ofrep)."""

from collections import Counter
from collections.abc import Iterable
from typing import Final

from ff_proxy.model.clock import Clock, milliseconds
from ff_proxy.model.evaluation import Evaluation, NoEvaluation
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.usage import UsageCount
from ff_proxy.snapshots.snapshot import Snapshot
from ff_proxy.usage.intake import Intake
from ff_proxy.wire.usage import evaluation_key

_OTHERS: Final = "ofrep"
# Providers name themselves and their HTTP library; anything else is not told apart.
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


class OfrepUsage:
    """Adds up evaluations until the intake takes them.

    Clients cannot make it grow: it counts by flag, variation and one of a few languages.

    Args:
        intake: moves counts into the store.
        clock: time.
    """

    def __init__(self, intake: Intake, clock: Clock) -> None:
        self._clock = clock
        self._counts: Counter[tuple[EnvironmentId, str, str, str]] = Counter()
        self._notify = intake.pull(self._drain)

    def count(
        self, snapshot: Snapshot, outcomes: Iterable[Evaluation | NoEvaluation], agent: bytes | None
    ) -> None:
        """These were given to a client that calls itself ``agent``."""
        if self._notify is None:
            return
        environment, language = snapshot.environment, _language(agent)
        counts = self._counts
        for outcome in outcomes:
            if isinstance(outcome, Evaluation):
                counts[environment, outcome.flag, outcome.variation, language] += 1
        self._notify()

    def _drain(self) -> Iterable[tuple[EnvironmentId, Iterable[UsageCount]]]:
        counted, self._counts = self._counts, Counter()
        now = milliseconds(self._clock)
        by_environment: dict[EnvironmentId, list[UsageCount]] = {}
        for (environment, flag, variation, language), count in counted.items():
            key = evaluation_key(environment, flag, variation, language)
            by_environment.setdefault(environment, []).append(UsageCount(key, count, now))
        return by_environment.items()


def _language(agent: bytes | None) -> str:
    lowered = (agent or b"").lower()
    return next((language for name, language in _LANGUAGES.items() if name in lowered), _OTHERS)
