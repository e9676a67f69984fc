"""Trouble that lasts and is shared: its begin is one line for each cause, with the number of those it hits.

A hundred environments that lose Harness have one trouble, not a hundred, and each of them has its stream, its
lists and its keys: whoever meets trouble reports it here with a cause that names no environment.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

import msgspec

from ff_proxy.telemetry.grouped_lines import GroupedLines, named
from ff_proxy.telemetry.logs import Logger
from ff_proxy.telemetry.pace import Pace

# Causes are texts of others: beyond so many at a time they are one.
_MOST_CAUSES: Final = 16
_MANY: Final = "many causes, see the lines before"


class IncidentKind(msgspec.Struct, frozen=True):
    """A kind of trouble, in the words of the log."""

    began: str
    over: str


class Subject(NamedTuple):
    """Who is in trouble: with which work, for which environment, with which key (masked)."""

    environment: str = ""
    doing: str = ""
    key: str = ""


class Incidents:
    """The incidents of one room."""

    def __init__(self, log: Logger, lines: GroupedLines) -> None:
        self._log = log
        self._lines = lines
        self._open: dict[IncidentKind, _Incident] = {}
        lines.join(self)

    def report(
        self, kind: IncidentKind, cause: str, subject: Subject, *, severe: bool = False, detail: str = ""
    ) -> None:
        """Somebody is in trouble, or still.

        Args:
            kind: what kind of trouble.
            cause: why, without anything that is of this subject only.
            subject: who.
            severe: nothing but a change by people will mend it.
            detail: the same with everything, for DEBUG.
        """
        incident = self._open.get(kind)
        if incident is None:
            incident = self._open[kind] = _Incident(kind, self._log)
        self._log.debug(kind.began, error=detail or cause, **_facts([subject]))
        incident.report(cause, subject, self._lines.now(), self._lines.window, severe=severe)
        self._lines.changed(self)

    def resolve(self, kind: IncidentKind, subject: Subject) -> None:
        """``subject`` is not in trouble (any more)."""
        incident = self._open.get(kind)
        if incident is not None and incident.resolve(subject, self._lines.now(), self._lines.window):
            self._lines.changed(self)

    def withdraw(self, kind: IncidentKind, environment: str, doing: str = "") -> None:
        """The environment (or that work) is somebody else's now: nobody here knows how it is."""
        incident = self._open.get(kind)
        if incident is not None:
            incident.withdraw(environment, doing)

    def is_open(self, kind: IncidentKind) -> bool:
        """Whether anybody is in trouble of that kind."""
        incident = self._open.get(kind)
        return incident is not None and incident.is_open

    def flush(self, now: float, *, at_end: bool = False) -> bool:
        """See ``Lines``."""
        return sum(incident.flush(now, at_end=at_end) for incident in self._open.values()) > 0


class _Cause:
    """One cause, and who suffers from it."""

    def __init__(self) -> None:
        self.subjects: Final[dict[Subject, None]] = {}
        self.pace: Final = Pace()
        self.told = 0
        self.severe = False


class _Incident:
    """One kind of trouble, from when it began until nobody has it any more."""

    def __init__(self, kind: IncidentKind, log: Logger) -> None:
        self._kind = kind
        self._log = log
        self._where: dict[Subject, str] = {}
        self._causes: dict[str, _Cause] = {}
        self._end: Final = Pace()
        self._began: float | None = None
        self._ended = 0.0
        self._told = False
        self._hit: set[Subject] = set()
        self._last_cause = ""

    @property
    def is_open(self) -> bool:
        return bool(self._where)

    def report(self, cause: str, subject: Subject, now: float, window: float, *, severe: bool) -> None:
        if cause not in self._causes and len(self._causes) >= _MOST_CAUSES:
            cause = _MANY
        known = self._where.get(subject)
        if known == cause:
            return
        if known is not None:
            del self._causes[known].subjects[subject]
        if self._began is None:
            self._began = now
        self._end.skip()
        self._hit.add(subject)
        self._last_cause = cause
        self._where[subject] = cause
        shared = self._causes.setdefault(cause, _Cause())
        shared.subjects[subject] = None
        shared.severe |= severe
        shared.pace.ask(now, window)

    def resolve(self, subject: Subject, now: float, window: float) -> bool:
        """Whether that was the last one."""
        cause = self._where.pop(subject, None)
        if cause is None:
            return False
        del self._causes[cause].subjects[subject]
        if self._where:
            return False
        self._ended = now
        self._end.ask(now, window)
        return True

    def withdraw(self, environment: str, doing: str) -> None:
        gone = [one for one in self._where if one.environment == environment and doing in {"", one.doing}]
        for subject in gone:
            del self._causes[self._where.pop(subject)].subjects[subject]
        if not self._where:
            self._forget()

    def flush(self, now: float, *, at_end: bool) -> bool:
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
        say(self._kind.began, cause=name, **_facts(cause.subjects))
        cause.pace.said(now)

    def _tell_end(self, now: float) -> None:
        assert self._began is not None  # noqa: S101  (as the only caller has seen)
        why = {} if self._told else {"cause": self._last_cause}
        self._log.info(
            self._kind.over, seconds=round(self._ended - self._began, 1), **why, **_facts(self._hit)
        )
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


def _facts(subjects: Iterable[Subject]) -> dict[str, object]:
    several = list(subjects)
    facts: dict[str, object] = {}
    facts |= named("environment", {one.environment for one in several} - {""})
    facts |= named("key", {one.key for one in several} - {""})
    works = sorted({one.doing for one in several} - {""})
    return facts | ({"affected": works} if works else {})
