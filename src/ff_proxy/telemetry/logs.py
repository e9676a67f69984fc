"""Log lines: JSON to standard output, or plain text on a terminal; repeated trouble is said once."""

import logging
import sys
from collections.abc import Callable, Mapping, MutableMapping
from contextlib import suppress
from typing import Final, Protocol, TextIO

import structlog

from ff_proxy.bounded import BoundedMap
from ff_proxy.errors import FfProxyError, StoreUnavailable
from ff_proxy.model.clock import Clock
from ff_proxy.telemetry.levels import LogLevels

_ONCE_BYTES: Final = 512 * 1024


class Logger(Protocol):
    """What rooms need of a logger: an event in a few words, and facts as keywords."""

    def debug(self, event: str, **facts: object) -> object:
        """For whoever traces one request."""
        ...

    def info(self, event: str, **facts: object) -> object:
        """Something an operator expects to see."""
        ...

    def warning(self, event: str, **facts: object) -> object:
        """Something that works but should be looked at."""
        ...

    def error(self, event: str, **facts: object) -> object:
        """Something that does not work."""
        ...


def _stringify(_: object, __: str, event: MutableMapping[str, object]) -> Mapping[str, object]:
    # A fact of ours may be a secret or a record: its own repr decides what is shown.
    return {
        name: fact if isinstance(fact, str | int | float | bool | list | dict | None) else str(fact)
        for name, fact in event.items()
    }


class _Lines:
    """Where lines go. One that cannot be written is lost: a full disk must not end a proxy that serves."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def msg(self, line: str) -> None:
        """Write a line and send it off."""
        with suppress(OSError, ValueError):
            self._out.write(f"{line}\n")
            self._out.flush()

    debug = info = warning = error = msg


class LeveledLogger:
    """A logger whose ``levels`` can change while it is used; costs a comparison where nothing is written."""

    __slots__ = ("_levels", "_log")

    def __init__(self, log: structlog.typing.FilteringBoundLogger, levels: LogLevels) -> None:
        self._log = log
        self._levels = levels

    @property
    def debugging(self) -> bool:
        """Lines of DEBUG are written, at least for some environment."""
        return self._levels.least <= logging.DEBUG

    def bind(self, **facts: object) -> "LeveledLogger":
        """The same, with ``facts`` on every line."""
        return LeveledLogger(self._log.bind(**facts), self._levels)

    def debug(self, event: str, **facts: object) -> None:
        """See ``Logger``."""
        if self._levels.wants(logging.DEBUG, facts):
            self._log.debug(event, **facts)

    def info(self, event: str, **facts: object) -> None:
        """See ``Logger``."""
        if self._levels.wants(logging.INFO, facts):
            self._log.info(event, **facts)

    def warning(self, event: str, **facts: object) -> None:
        """See ``Logger``."""
        if self._levels.wants(logging.WARNING, facts):
            self._log.warning(event, **facts)

    def error(self, event: str, **facts: object) -> None:
        """See ``Logger``."""
        if self._levels.wants(logging.ERROR, facts):
            self._log.error(event, **facts)


def make_logger(
    level: str | LogLevels,
    stream: TextIO | None = None,
    process: str = "",
    *,
    form: str = "auto",
    colors: bool = True,
) -> LeveledLogger:
    """A logger that writes lines of ``level`` (DEBUG, INFO, WARNING, ERROR) and above to ``stream``.

    ``form`` is ``json``, ``text``, or ``auto`` for text on a terminal and JSON elsewhere; only a terminal
    gets ``colors``. Every line carries ``process`` if there is one.
    """
    out = stream if stream is not None else sys.stdout
    terminal = out.isatty()
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(colors=terminal and colors)
        if form == "text" or (form == "auto" and terminal)
        else structlog.processors.JSONRenderer()
    )
    logger: structlog.typing.FilteringBoundLogger = structlog.wrap_logger(
        _Lines(out),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
            _stringify,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
    )
    leveled = LeveledLogger(logger, level if isinstance(level, LogLevels) else LogLevels(level))
    return leveled.bind(process=process) if process else leveled


class OnceLog:
    """Says a thing once, and again only when an interval has passed, with how often it happened since.

    Bounded: it remembers ``budget`` bytes of (event, subject) pairs, the oldest are forgotten first.
    """

    def __init__(
        self, logger: Logger, clock: Clock, interval: float = 300.0, budget: int = _ONCE_BYTES
    ) -> None:
        self._logger = logger
        self._clock = clock
        self._interval = interval
        self._said: BoundedMap[tuple[str, str], tuple[float, int]] = BoundedMap(budget)

    def warning(self, event: str, subject: str = "", **facts: object) -> None:
        """Log ``event`` about ``subject`` unless that was done within the interval."""
        if subject:
            facts["subject"] = subject
        self._say(self._logger.warning, (event, subject), event, facts)

    def trouble(self, event: str, error: FfProxyError, subject: str = "") -> None:
        """``warning`` of an error, unless the one who raised it says so himself."""
        if isinstance(error, StoreUnavailable) and error.reported:
            self._logger.debug(event, error=str(error), **({"subject": subject} if subject else {}))
        else:
            self.warning(event, subject, error=str(error))

    def error(self, event: str, key: str = "", **facts: object) -> None:
        """The same for something that does not work; ``key`` tells occasions apart and is not logged."""
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
        """The trouble is over: say it anew next time. ``True`` if it had been said."""
        return self._said.pop((event, subject)) is not None
