"""The last log lines of a process, kept in memory for the admin address."""

import json
import logging
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Final, Protocol

import msgspec

from ff_proxy.telemetry.json_lines import Output
from ff_proxy.telemetry.levels import environments_of

MOST_LINES: Final = 1000
"""How many are kept to be looked at."""

_BUDGET: Final = 1024 * 1024
_BLOCK_OVERHEAD: Final = 80
_LONGEST: Final = 4000
_OWN: Final = frozenset({"ts", "level", "process", "component", "event"})


class LogLine(msgspec.Struct, frozen=True):
    """One line: ``facts`` is JSON, ``about`` the environment or what of it the line is about, if any.

    ``environments`` are the ids of those environments, ``process`` is which of several wrote it.
    """

    at: str
    level: str
    component: str
    event: str
    about: str
    facts: str
    environments: tuple[str, ...] = ()
    process: str = ""

    @property
    def severity(self) -> int:
        """The level as a number of ``logging``."""
        return logging.getLevelNamesMapping().get(self.level.upper(), logging.INFO)


class RecentLines(Protocol):
    """The last lines of a proxy."""

    def lines(self, least: int = logging.DEBUG, environment: str = "", text: str = "") -> Iterator[LogLine]:
        """Lines of that level and above, newest first, about ``environment`` and containing ``text``."""
        ...


class LogRing:
    """The last lines, ``budget`` bytes at most; the oldest go first.

    It is written to like a file, in whole lines of JSON, and parses them only when they are read.
    """

    def __init__(self, lines: int = MOST_LINES, budget: int = _BUDGET) -> None:
        self._blocks: Final[deque[str]] = deque()
        self._most = lines
        self._budget = budget
        self._spent = 0
        self._held = 0
        self._copy: Output | None = None

    def write(self, text: str) -> None:
        """Keep these lines."""
        if self._copy is not None:
            with suppress(OSError):
                self._copy.write(text)
        self._blocks.append(text)
        self._spent += len(text) + _BLOCK_OVERHEAD
        self._held += text.count("\n")
        while self._blocks and (
            self._spent > self._budget or self._held - self._blocks[0].count("\n") >= self._most
        ):
            gone = self._blocks.popleft()
            self._spent -= len(gone) + _BLOCK_OVERHEAD
            self._held -= gone.count("\n")

    def flush(self) -> None:
        """Nothing to do."""

    def copy_to(self, output: Output) -> None:
        """From now on ``output`` gets every line as well, and at once those that are kept."""
        with suppress(OSError):
            output.write("".join(self._blocks))
        self._copy = output

    def lines(self, least: int = logging.DEBUG, environment: str = "", text: str = "") -> Iterator[LogLine]:
        """See ``RecentLines``."""
        blocks = reversed(list(self._blocks))
        raws = (raw for block in blocks for raw in reversed(block.splitlines()))
        return matching(raws, least, environment, text)


def matching(raws: Iterable[str], least: int, environment: str, text: str) -> Iterator[LogLine]:
    """Those of ``raws`` (lines of JSON) that are wanted; see ``RecentLines.lines``."""
    wanted = text.casefold()
    for line in map(_read, raws):
        if line is None or line.severity < least:
            continue
        if environment and environment not in line.environments:
            continue
        if not wanted or wanted in f"{line.event} {line.facts}".casefold():
            yield line


def _read(raw: str) -> LogLine | None:
    try:
        line = json.loads(raw)
    except ValueError:
        return None
    facts = {name: fact for name, fact in line.items() if name not in _OWN}
    return LogLine(
        at=str(line.get("ts", "")),
        level=str(line.get("level", "")),
        component=str(line.get("component", "")),
        event=_shortened(str(line.get("event", ""))),
        about=_shortened(_about(line)),
        facts=_shortened(json.dumps(facts, ensure_ascii=False)) if facts else "",
        environments=tuple(dict.fromkeys(map(_shortened, environments_of(line)))),
        process=str(line.get("process", "")),
    )


def _about(line: Mapping[str, object]) -> str:
    return " ".join(str(line[name]) for name in ("environment", "subject") if line.get(name))


def _shortened(text: str) -> str:
    # Half a character can be logged, but not sent.
    text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
