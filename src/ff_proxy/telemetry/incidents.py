"""Lasting problems: one log line per cause when it begins, with the number of subjects, and one at the end.

When a hundred environments lose Harness, that is one incident, although each has a stream, lists and keys.
Failures are reported here with a cause that names no environment.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

from ff_proxy.telemetry.grouped_lines import GroupedLines, named
from ff_proxy.telemetry.logs import Logger
from ff_proxy.telemetry.pace import Pace

# Causes are foreign text: beyond this many at a time they are merged.
_MOST_CAUSES: Final = 16
_MANY: Final = "many causes, see the lines before"


class Subject(NamedTuple):
    """Who is affected: the task, the environment, the key (masked)."""

    environment: str = ""
    doing: str = ""
    key: str = ""


class _Cause:
    """One cause, and the affected subjects."""

    def __init__(self) -> None:
        self.subjects: Final[dict[Subject, None]] = {}
        self.pace: Final = Pace()
        self.told = 0
        self.severe = False


class Incident:
    """A problem that many subjects can have, from its begin until none is affected; it can recur.

    Args:
        began, over: the log events.
        log: where they go.
        lines: writes them when they are due.
        word: the fact that names what is affected; a list of all, if there is none.
    """

    def __init__(self, began: str, over: str, log: Logger, lines: GroupedLines, *, word: str = "") -> None:
        self._event = began
        self._over = over
        self._log = log
        self._lines = lines
        self._word = word
        self._where: dict[Subject, str] = {}
        self._causes: dict[str, _Cause] = {}
        self._end: Final = Pace()
        self._began: float | None = None
        self._ended = 0.0
        self._told = False
        self._hit: set[Subject] = set()
        self._last_cause = ""
        lines.join(self)

    def report(self, cause: str, subject: Subject, *, severe: bool = False, detail: str = "") -> None:
        """Report that a subject is affected.

        Args:
            cause: the cause, without anything specific to the subject.
            subject: who.
            severe: only people can fix it.
            detail: the full text, for DEBUG.
        """
        self._log.debug(self._event, error=detail or cause, **self._facts([subject]))
        self._note(cause, subject, severe=severe)
        self._lines.changed(self)

    def _note(self, cause: str, subject: Subject, *, severe: bool) -> None:
        if cause not in self._causes and len(self._causes) >= _MOST_CAUSES:
            cause = _MANY
        known = self._where.get(subject)
        if known == cause:
            return
        if known is not None:
            del self._causes[known].subjects[subject]
        now = self._lines.now()
        if self._began is None:
            self._began = now
        self._end.skip()
        self._hit.add(subject)
        self._last_cause = cause
        self._where[subject] = cause
        shared = self._causes.setdefault(cause, _Cause())
        shared.subjects[subject] = None
        shared.severe |= severe
        shared.pace.ask(now, self._lines.window)

    def resolve(self, subject: Subject) -> None:
        """Report that ``subject`` is not affected (any more)."""
        cause = self._where.pop(subject, None)
        if cause is None:
            return
        del self._causes[cause].subjects[subject]
        if self._where:
            return
        self._ended = self._lines.now()
        self._end.ask(self._ended, self._lines.window)
        self._lines.changed(self)

    def withdraw(self, environment: str, doing: str = "", key: str = "") -> None:
        """Forget an environment, task or key that this process has nothing to do with any more."""
        gone = [
            one
            for one in self._where
            if one.environment == environment and doing in {"", one.doing} and key in {"", one.key}
        ]
        for subject in gone:
            del self._causes[self._where.pop(subject)].subjects[subject]
        if not self._where:
            self._forget()

    def flush(self, now: float, *, at_end: bool = False) -> bool:
        """See ``Lines``."""
        for name, cause in list(self._causes.items()):
            if cause.subjects and (cause.pace.due(now) or (at_end and not cause.told)):
                self._tell(name, cause, now)
            elif not cause.subjects and cause.pace.due(now):
                cause.pace.skip()
            elif not cause.subjects and cause.pace.rests(now):
                del self._causes[name]
        if not self._where and self._began is not None and (self._end.due(now) or at_end):
            self._tell_end(now)
        return self._end.waits or any(cause.pace.waits for cause in self._causes.values())

    def _tell(self, name: str, cause: _Cause, now: float) -> None:
        hit = len({(one.environment, one.key) for one in cause.subjects})
        if hit == cause.told:
            cause.pace.skip()
            return
        cause.told = hit
        self._told = True
        say = self._log.error if cause.severe else self._log.warning
        say(self._event, cause=name, **self._facts(cause.subjects))
        cause.pace.said(now)

    def _tell_end(self, now: float) -> None:
        assert self._began is not None  # noqa: S101  (as the only caller has seen)
        why = {} if self._told else {"cause": self._last_cause}
        seconds = round(self._ended - self._began, 1)
        self._log.info(self._over, seconds=seconds, **why, **self._facts(self._hit))
        self._end.said(now)
        self._forget()

    def _forget(self) -> None:
        self._began = None
        self._told = False
        self._hit.clear()
        self._end.skip()
        for cause in self._causes.values():
            cause.told = 0
            cause.pace.skip()

    def _facts(self, subjects: Iterable[Subject]) -> dict[str, object]:
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
