"""Log lines about events of environments, grouped within a second."""

from collections.abc import Callable
from typing import Final

from ff_proxy.telemetry.grouped_lines import GroupedLines, Pace, named
from ff_proxy.telemetry.logs import Logger


class Notices:
    """Logs events such as "leading": one line per environment, or one for many.

    The more often an event occurs, the longer its next line waits for others, up to a minute. At DEBUG every
    environment also has its own line.
    """

    def __init__(self, log: Logger, lines: GroupedLines) -> None:
        self._log = log
        self._lines = lines
        self._groups: dict[str, _Group] = {}
        lines.join(self)

    def info(self, event: str, environment: str, **facts: object) -> None:
        """Log an expected ``event`` of ``environment``."""
        self._add(self._log.info, event, environment, facts)

    def warning(self, event: str, environment: str, **facts: object) -> None:
        """Like ``info``, for an event that deserves attention."""
        self._add(self._log.warning, event, environment, facts)

    def flush(self, now: float, *, at_end: bool = False) -> bool:
        """See ``Lines``."""
        for event, group in self._groups.items():
            if group.waiting and (at_end or group.pace.due(now)):
                self._write(event, group)
                group.pace.said(now)
        return any(group.waiting for group in self._groups.values())

    def _add(
        self, say: Callable[..., object], event: str, environment: str, facts: dict[str, object]
    ) -> None:
        group = self._groups.get(event)
        if group is None:
            group = self._groups[event] = _Group(say)
        group.times += 1
        group.waiting[environment] = facts
        group.pace.ask(self._lines.now(), self._lines.window)
        self._lines.changed(self)

    def _write(self, event: str, group: "_Group") -> None:
        if len(group.waiting) == 1:
            shared = next(iter(group.waiting.values()))
        else:
            first, *others = group.waiting.values()
            shared = {
                name: fact
                for name, fact in first.items()
                if all(name in other and other[name] == fact for other in others)
            }
            for environment, facts in group.waiting.items():
                self._log.debug(event, environment=environment, **facts)
        times = {"times": group.times} if group.times > len(group.waiting) else {}
        group.say(event, **named("environment", group.waiting), **shared, **times)
        group.waiting.clear()
        group.times = 0


class _Group:
    """The waiting lines of one event, by environment."""

    def __init__(self, say: Callable[..., object]) -> None:
        self.say: Final = say
        self.pace: Final = Pace()
        self.waiting: Final[dict[str, dict[str, object]]] = {}
        self.times = 0
