"""Lasting troubles with Harness or the store: a log line per cause when it begins, and one when it is over.

When a hundred environments lose Harness, that is one trouble, although each has a stream, lists and keys.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

from ff_proxy.errors import StoreError, StoreUnavailable, UpstreamError, UpstreamRefused
from ff_proxy.telemetry.grouped_lines import GroupedLines, Pace, named
from ff_proxy.telemetry.logs import Logger

# Causes are foreign text: beyond this many at a time they are merged.
_MOST_CAUSES: Final = 16
_MANY: Final = "many causes, see the lines before"


class _Subject(NamedTuple):
    """Who is affected: the environment, the task, the key (masked)."""

    environment: str
    doing: str
    key: str


class _Cause:
    """When to log one cause, for how many it was logged last, and whether only people can fix it."""

    def __init__(self) -> None:
        self.pace: Final = Pace()
        self.told = 0
        self.severe = False


class Troubles:
    """Who cannot use something, and why, from the first failure until nobody is affected; they can recur.

    Args:
        event, over: the log events at the begin and at the end.
        log: where they go.
        lines: writes them when they are due.
        word: the fact that names the affected tasks; a list of all, if there is none.
    """

    def __init__(self, event: str, over: str, log: Logger, lines: GroupedLines, *, word: str = "") -> None:
        self._event = event
        self._over = over
        self._log = log
        self._lines = lines
        self._word = word
        self._failing: dict[_Subject, str] = {}
        self._causes: dict[str, _Cause] = {}
        self._end: Final = Pace()
        self._began: float | None = None
        self._ended = 0.0
        self._told = False
        self._affected: set[_Subject] = set()
        self._last_cause = ""
        lines.join(self)

    def failed(
        self,
        error: UpstreamError | StoreError,
        doing: str,
        environment: str = "",
        *,
        key: str = "",
        advice: str = "",
    ) -> None:
        """Report that ``doing`` something failed; ``advice`` says what to do about it.

        A refusal is logged as an error, because only people can fix it. What the store reports itself has no
        line here.
        """
        subject = _Subject(environment, doing, key)
        self._log.debug(self._event, error=str(error), **self._facts([subject]))
        if isinstance(error, StoreUnavailable) and error.reported:
            return
        shared = error.shared_cause if isinstance(error, UpstreamError) else ""
        cause = shared or str(error)
        if environment:
            cause = cause.replace(environment, "{env}")
        self._note(subject, f"{cause}: {advice}" if advice else cause, isinstance(error, UpstreamRefused))
        self._lines.changed(self)

    def _note(self, subject: _Subject, cause: str, severe: bool) -> None:
        if cause not in self._causes and len(self._causes) >= _MOST_CAUSES:
            cause = _MANY
        if self._failing.get(subject) == cause:
            return
        now = self._lines.now()
        if self._began is None:
            self._began = now
        self._end.skip()
        self._affected.add(subject)
        self._last_cause = cause
        self._failing[subject] = cause
        shared = self._causes.setdefault(cause, _Cause())
        shared.severe |= severe
        shared.pace.ask(now, self._lines.window)

    def answered(self, doing: str, environment: str = "", *, key: str = "") -> None:
        """Report that it worked."""
        gone = self._failing.pop(_Subject(environment, doing, key), None)
        if gone is None or self._failing:
            return
        self._ended = self._lines.now()
        self._end.ask(self._ended, self._lines.window)
        self._lines.changed(self)

    def withdraw(self, environment: str = "", doing: str = "", *, key: str = "") -> None:
        """Forget an environment, task or key that this process has nothing to do with any more."""
        self._failing = {
            one: cause
            for one, cause in self._failing.items()
            if one.environment != environment or doing not in {"", one.doing} or key not in {"", one.key}
        }
        if not self._failing:
            self._forget()

    def flush(self, now: float, *, at_end: bool = False) -> bool:
        """See ``Lines``."""
        affected: dict[str, list[_Subject]] = {name: [] for name in self._causes}
        for subject, name in self._failing.items():
            affected[name].append(subject)
        for name, subjects in affected.items():
            cause = self._causes[name]
            if subjects and (cause.pace.due(now) or (at_end and not cause.told)):
                self._tell(name, cause, subjects, now)
            elif not subjects and cause.pace.due(now):
                cause.pace.skip()
            elif not subjects and cause.pace.rests(now):
                del self._causes[name]
        if not self._failing and self._began is not None and (self._end.due(now) or at_end):
            self._tell_end(self._ended - self._began, now)
        return self._end.waits or any(cause.pace.waits for cause in self._causes.values())

    def _tell(self, name: str, cause: _Cause, subjects: list[_Subject], now: float) -> None:
        hit = len({(one.environment, one.key) for one in subjects})
        if hit == cause.told:
            cause.pace.skip()
            return
        cause.told = hit
        self._told = True
        say = self._log.error if cause.severe else self._log.warning
        say(self._event, cause=name, **self._facts(subjects))
        cause.pace.said(now)

    def _tell_end(self, seconds: float, now: float) -> None:
        why = {} if self._told else {"cause": self._last_cause}
        self._log.info(self._over, seconds=round(seconds, 1), **why, **self._facts(self._affected))
        self._end.said(now)
        self._forget()

    def _forget(self) -> None:
        self._began = None
        self._told = False
        self._affected.clear()
        self._end.skip()
        for cause in self._causes.values():
            cause.told = 0
            cause.pace.skip()

    def _facts(self, subjects: Iterable[_Subject]) -> dict[str, object]:
        several = list(subjects)
        facts: dict[str, object] = {}
        facts |= named("environment", {one.environment for one in several} - {""})
        facts |= named("key", {one.key for one in several} - {""})
        works = sorted({one.doing for one in several} - {""})
        if self._word:
            facts |= named(self._word, works)
        elif works:
            facts["affected"] = works
        return facts
