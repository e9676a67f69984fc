"""Logging: JSON to standard output, or plain text on a terminal; repeated lines are limited."""

import io
import logging
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final, Protocol, TextIO

from ff_proxy.bounded import BoundedMap
from ff_proxy.errors import FfProxyError, StoreUnavailable
from ff_proxy.model.clock import Clock
from ff_proxy.telemetry.json_lines import JsonLines, Output
from ff_proxy.telemetry.levels import LogLevels
from ff_proxy.telemetry.unblocked import UnblockedOutput, may_stall

_ONCE_BYTES: Final = 512 * 1024
_DROPPED: Final = "log lines were dropped: the reader of standard output does not keep up"


class _TextLines:
    """Lines for people, by ``structlog``; ``kept`` writes them for programs as well."""

    def __init__(self, out: Output, kept: JsonLines, *, colors: bool) -> None:
        # Its import takes longer than that of all the rest of telemetry, and few logs are read on a terminal.
        import structlog  # noqa: PLC0415

        self._out = out
        self._kept = kept
        self._render = structlog.dev.ConsoleRenderer(colors=colors)

    def write(self, level: str, event: str, bound: Mapping[str, object], facts: Mapping[str, object]) -> None:
        """One line."""
        stamp = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        shown: dict[str, object] = {"timestamp": stamp, "level": level, "event": event, **bound}
        shown |= {
            name: fact if isinstance(fact, str | int | float | bool | list | dict | None) else str(fact)
            for name, fact in facts.items()
        }
        with suppress(OSError, ValueError):
            self._out.write(f"{self._render(None, level, shown)}\n")
            self._out.flush()
        self._kept.write(level, event, bound, facts)


class _Lines(Protocol):
    def write(self, level: str, event: str, bound: Mapping[str, object], facts: Mapping[str, object]) -> None:
        """Write and flush a line; one that cannot be written is dropped."""
        ...


class Logger:
    """Takes an event in a few words, and facts as keywords.

    Its ``levels`` can change; a suppressed line costs only a comparison.
    """

    __slots__ = ("_bound", "_drain", "_levels", "_lines")

    def __init__(
        self, lines: _Lines, levels: LogLevels, bound: Mapping[str, object], drain: Callable[[], None]
    ) -> None:
        self._lines = lines
        self._levels = levels
        self._bound = bound
        self._drain = drain

    @property
    def levels(self) -> LogLevels:
        """Which lines are written."""
        return self._levels

    @property
    def debugging(self) -> bool:
        """Whether DEBUG lines are written, at least for some environment."""
        return self._levels.least <= logging.DEBUG

    def beginning(self, **facts: object) -> str | None:
        """The start of an INFO line, to be completed by ``repeat`` many times.

        ``None`` if lines are plain text, empty if they are not written.
        """
        if not isinstance(self._lines, JsonLines):
            return None
        return self._lines.beginning(self._bound, facts) if self._levels.wants(logging.INFO, facts) else ""

    def ended(self, beginning: str, event: str, more: str) -> str:
        """A line with that ``beginning``; ``more`` are facts in JSON, each after a comma."""
        assert isinstance(self._lines, JsonLines)  # noqa: S101  (only then there is a beginning)
        return f"{beginning}{more}{self._lines.end('info', event)}"

    def send(self, text: str) -> None:
        """Write such lines."""
        assert isinstance(self._lines, JsonLines)  # noqa: S101  (as above)
        self._lines.send(text)

    def bind(self, **facts: object) -> "Logger":
        """The same, with ``facts`` on every line."""
        return Logger(self._lines, self._levels, {**self._bound, **facts}, self._drain)

    def drain(self) -> None:
        """At the end of the process: write what a slow reader has not taken yet, within a second."""
        self._drain()

    def debug(self, event: str, **facts: object) -> None:
        """For tracing single requests."""
        if self._levels.wants(logging.DEBUG, facts):
            self._lines.write("debug", event, self._bound, facts)

    def info(self, event: str, **facts: object) -> None:
        """Something an operator expects to see."""
        if self._levels.wants(logging.INFO, facts):
            self._lines.write("info", event, self._bound, facts)

    def warning(self, event: str, **facts: object) -> None:
        """Something that works but deserves attention."""
        if self._levels.wants(logging.WARNING, facts):
            self._lines.write("warning", event, self._bound, facts)

    def error(self, event: str, **facts: object) -> None:
        """Something that does not work."""
        if self._levels.wants(logging.ERROR, facts):
            self._lines.write("error", event, self._bound, facts)


def make_logger(
    level: str | LogLevels,
    stream: TextIO | None = None,
    process: str = "",
    *,
    form: str = "auto",
    colors: bool = True,
    recent: Output | None = None,
) -> Logger:
    """A logger that writes lines of ``level`` (DEBUG, INFO, WARNING, ERROR) and above to ``stream``.

    ``form`` is ``json``, ``text``, or ``auto`` for text on a terminal and JSON elsewhere; only a terminal
    gets ``colors``. Every line carries ``process`` if there is one, and goes to ``recent`` as well.
    """
    stream = stream if stream is not None else sys.stdout
    terminal = stream.isatty()
    text = form == "text" or (form == "auto" and terminal)
    bound = {"process": process} if process else {}

    def lines_to(out: Output, *kept: Output) -> _Lines:
        if text:
            return _TextLines(out, JsonLines(*kept), colors=terminal and colors)
        return JsonLines(out, *kept)

    def notice(dropped: int) -> str:
        line = io.StringIO()
        lines_to(line).write("warning", _DROPPED, bound, {"component": "log", "lines": dropped})
        return line.getvalue()

    out: Output = stream
    drain = _nothing
    if may_stall(stream):
        out = unblocked = UnblockedOutput(stream, notice)
        drain = unblocked.drain
    levels = level if isinstance(level, LogLevels) else LogLevels(level)
    return Logger(lines_to(out, *(() if recent is None else (recent,))), levels, bound, drain)


def _nothing() -> None:
    return


class OnceLog:
    """Logs an event once, and again only after an interval, with the number of repetitions.

    It remembers at most ``budget`` bytes of (event, subject) pairs, and forgets the oldest first.
    """

    def __init__(
        self, logger: Logger, clock: Clock, interval: float = 300.0, budget: int = _ONCE_BYTES
    ) -> None:
        self._logger = logger
        self._clock = clock
        self._interval = interval
        self._said: BoundedMap[tuple[str, str], tuple[float, int]] = BoundedMap(budget)

    def warning(self, event: str, subject: str = "", **facts: object) -> None:
        """Log ``event`` about ``subject``, unless already logged within the interval."""
        if subject:
            facts["subject"] = subject
        self._say(self._logger.warning, (event, subject), event, facts)

    def trouble(self, event: str, error: FfProxyError, subject: str = "") -> None:
        """Log an error as a warning, unless its source has already reported it."""
        if isinstance(error, StoreUnavailable) and error.reported:
            self._logger.debug(event, error=str(error), **({"subject": subject} if subject else {}))
        else:
            self.warning(event, subject, error=str(error))

    def error(self, event: str, key: str = "", **facts: object) -> None:
        """Like ``warning``, at level ERROR; ``key`` distinguishes occasions and is not logged."""
        self._say(self._logger.error, (event, key), event, facts)

    def _say(
        self,
        say: Callable[..., object],
        key: tuple[str, str],
        event: str,
        facts: dict[str, object],
    ) -> None:
        now = self._clock.monotonic()
        said = self._said.get(key)
        if said is not None and now - said[0] < self._interval:
            self._said.put(key, (said[0], said[1] + 1))
            return
        self._said.put(key, (now, 0))
        if said is not None and said[1]:
            facts["repeated"] = said[1]
        say(event, **facts)

    def forget(self, event: str, subject: str = "") -> bool:
        """Forget an event, so that it is logged again next time. ``True`` if it had been logged."""
        return self._said.pop((event, subject)) is not None
