"""Failed services: logged once, counted, and reported as degraded until they work again."""

import traceback
from typing import Final

from prometheus_client import Counter

from ff_proxy.model.readiness import Readiness
from ff_proxy.telemetry.logs import Logger, OnceLog

_FAILED: Final = "service failed, it is started again: please report this"
_CONTAINED: Final = "something failed and was left out: please report this"


class Failures:
    """Unexpected failures of this process (spec/behaviour#containment).

    Args:
        log, once: where lines go; the same failure again is only counted for a while.
        counter: the metric, with the label ``service``.
    """

    def __init__(self, log: Logger, once: OnceLog, counter: Counter) -> None:
        self._log = log
        self._once = once
        self._counter = counter
        self._failing: dict[tuple[str, str], str] = {}

    def add(self, service: str, error: BaseException, subject: str = "") -> None:
        """Report that ``service`` failed with ``error`` for ``subject`` (such as an environment).

        ``service`` must be one of few names, since it is a metric's label.
        """
        self._failing[service, subject] = _words(error)
        self._report(_FAILED, service, error, subject)

    def contained(self, service: str, error: BaseException, subject: str = "") -> None:
        """Report that one piece of work of ``service`` failed; the service itself continues."""
        self._report(_CONTAINED, service, error, subject)

    def recovered(self, service: str, subject: str = "") -> None:
        """Report that ``service`` works; logged only if it had failed."""
        if self._failing.pop((service, subject), None) is not None:
            self._log.info("service works again", service=service, **_about(subject))

    def withdraw(self, subject: str) -> None:
        """Forget the failures for ``subject``, which is no longer worked on."""
        for failing in [failing for failing in self._failing if failing[1] == subject]:
            del self._failing[failing]

    def reasons(self) -> tuple[str, ...]:
        """The current failures, for people."""
        return tuple(
            f"{service}{f' of {subject}' if subject else ''} failed and is started again: {words}"
            for (service, subject), words in self._failing.items()
        )

    def merge_into(self, readiness: Readiness) -> Readiness:
        """Add the current failures to ``readiness``."""
        if not self._failing:
            return readiness
        return readiness.with_degraded(*self.reasons())

    def _report(self, event: str, service: str, error: BaseException, subject: str) -> None:
        self._counter.labels(service).inc()
        trace = "".join(traceback.format_exception(error))
        occasion = f"{service} {subject} {_words(error)}"
        self._once.error(event, occasion, service=service, **_about(subject), trace=trace)


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _about(subject: str) -> dict[str, str]:
    return {"subject": subject} if subject else {}
