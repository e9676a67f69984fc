"""The access log: a line for each request, or only for errors (option ``access-log``)."""

import asyncio
import re
import secrets
from collections.abc import Mapping
from typing import Final, final

from ff_proxy.bounded import ENTRY_OVERHEAD, BoundedMap
from ff_proxy.http.observer import Answered
from ff_proxy.http.routes import Match
from ff_proxy.model.clock import Clock
from ff_proxy.telemetry.logs import Logger

_EVERY_SECONDS: Final = 10.0
_BUDGET: Final = 256 * 1024
_LONGEST_PATH: Final = 200
_LONGEST: Final = 80
_OK_BELOW: Final = 400
# The prefix of IPv4 addresses on a dual-stack socket.
_MAPPED: Final = "::ffff:"
# A token that a misconfigured client put into the path.
_TOKEN: Final = re.compile(rb"eyJ[\w-]+(\.[\w-]*){0,2}")
_LEFT_OUT: Final = "requests were refused, as one before"

_Kind = tuple[int, str, str]


@final
class AccessLog:
    """Writes lines with the route, status and caller of a request.

    With ``everything``, every request gets a line. Otherwise only errors do: one line in ten seconds for each
    combination of status, cause and environment, then a line with the number of suppressed ones.
    """

    def __init__(self, log: Logger, clock: Clock, *, everything: bool) -> None:
        self.all: Final = everything
        self._log = log
        self._prefix: Final = secrets.token_hex(4)
        self._numbered = 0
        self._line_starts: BoundedMap[bytes, str] = BoundedMap(_BUDGET)
        # The same for requests that differ in other bytes only.
        self._line_starts_by_kind: BoundedMap[tuple[str | int | bytes | None, ...], str] = BoundedMap(
            _BUDGET, lambda _, line_start: ENTRY_OVERHEAD + 3 * len(line_start)
        )
        # Cached line starts are empty while the log level suppresses them; they are void when it changes.
        self._levels_at_caching = log.levels.changes
        self._waiting: list[str] = []
        self._clock = clock
        self._kinds: BoundedMap[_Kind, _Suppressed] = BoundedMap(_BUDGET)

    def write(self, answered: Answered, data: bytes = b"") -> None:
        """Log an answered request; with ``data``, cache the start of its line for the same bytes."""
        if self.all:
            self._write(answered)
            line_start = self._log.beginning(**_facts(answered)) if data else None
            if line_start is not None:
                self._line_starts.put(data, line_start)
            return
        if answered.status < _OK_BELOW:
            return
        kind = (answered.status, answered.cause, _environment(answered))
        now = self._clock.monotonic()
        kept = self._kinds.get(kind)
        if kept is not None and now - kept.at < _EVERY_SECONDS:
            kept.left_out += 1
            return
        if kept is not None:
            self._report_suppressed(kind, kept)
        self._kinds.put(kind, _Suppressed(now))
        self._log.info("request", **self._all_facts(answered))

    def repeat(self, data: bytes, peer: str, seconds: float) -> bool:
        """Log a request of exactly these bytes; ``False`` if the start of its line is not cached."""
        line_start = self._line_starts.peek(data)
        if line_start is None:
            return False
        self._write_known(line_start, peer, seconds)
        return True

    def _write_known(self, line_start: str, peer: str, seconds: float) -> None:
        if not line_start:
            return
        self._numbered += 1
        peer = peer.removeprefix(_MAPPED)
        more = f',"ms":{seconds * 1000:.3f},"peer":"{peer}","request_id":"{self._prefix}-{self._numbered}"'
        self._send_soon(self._log.ended(line_start, "request", more))

    @property
    def kinds(self) -> int:
        """How many kinds of errors were logged lately."""
        return len(self._kinds)

    def tick(self) -> None:
        """Called every second: log how many lines were suppressed."""
        if self._levels_at_caching != self._log.levels.changes:
            self._levels_at_caching = self._log.levels.changes
            self._line_starts.clear()
            self._line_starts_by_kind.clear()
        now = self._clock.monotonic()
        for kind, kept in list(self._kinds.items()):
            if now - kept.at >= _EVERY_SECONDS:
                self._report_suppressed(kind, kept)
                self._kinds.pop(kind)

    def end(self) -> None:
        """Log how many lines were suppressed; nothing is written after this."""
        for kind, kept in self._kinds.items():
            self._report_suppressed(kind, kept)
        self._kinds.clear()

    def _write(self, answered: Answered) -> None:
        if answered.match is not None and answered.request_id is None and not answered.cause:
            line_start = self._line_start(answered, answered.match)
            if line_start is not None:
                self._write_known(line_start, answered.peer, answered.seconds)
                return
        facts = self._all_facts(answered)
        line_start = self._log.beginning(**facts)
        if line_start is None:
            self._log.info("request", **facts)
        elif line_start:
            self._send_soon(self._log.ended(line_start, "request", ""))

    def _line_start(self, answered: Answered, match: Match) -> str | None:
        kind = (answered.method, match.label, _environment(answered), answered.status, answered.sdk)
        line_start = self._line_starts_by_kind.peek(kind)
        if line_start is None:
            line_start = self._log.beginning(**_facts(answered))
            if line_start is not None:
                self._line_starts_by_kind.put(kind, line_start)
        return line_start

    def _send_soon(self, line: str) -> None:
        # Lines from one turn of the event loop are written together.
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._send)
        self._waiting.append(line)

    def _send(self) -> None:
        text = "".join(self._waiting)
        self._waiting.clear()
        self._log.send(text)

    def _id_of(self, answered: Answered) -> str:
        if answered.request_id is not None:
            return _shown(answered.request_id, _LONGEST_PATH)
        self._numbered += 1
        return f"{self._prefix}-{self._numbered}"

    def _all_facts(self, answered: Answered) -> dict[str, object]:
        facts = _facts(answered)
        facts["ms"] = round(answered.seconds * 1000, 3)
        facts["peer"] = answered.peer.removeprefix(_MAPPED)
        facts["request_id"] = self._id_of(answered)
        return facts

    def _report_suppressed(self, kind: _Kind, kept: "_Suppressed") -> None:
        if kept.left_out:
            status, cause, environment = kind
            facts = {"status": status, "cause": cause, "environment": environment, "left_out": kept.left_out}
            self._log.info(_LEFT_OUT, **{name: fact for name, fact in facts.items() if fact})


class _Suppressed:
    """When a line of a kind was last written, and how many have been suppressed since."""

    __slots__ = ("at", "left_out")

    def __init__(self, at: float) -> None:
        self.at = at
        self.left_out = 0


def _facts(answered: Answered) -> dict[str, object]:
    match = answered.match
    facts: dict[str, object] = {
        "method": answered.method[:_LONGEST],
        "route": _shown(_TOKEN.sub(b"***", answered.path), _LONGEST_PATH) if match is None else match.label,
        "status": answered.status,
    }
    if environment := _environment(answered):
        facts["environment"] = environment
    if answered.sdk is not None:
        facts["sdk"] = _shown(answered.sdk, _LONGEST)
    if answered.cause:
        facts["cause"] = answered.cause
    return facts


def _environment(answered: Answered) -> str:
    params: Mapping[str, str] = {} if answered.match is None else answered.match.params
    return (params.get("env") or answered.label)[:_LONGEST]


def _shown(sent: bytes, longest: int) -> str:
    """A client's text with unprintable characters replaced."""
    text = sent[:longest].decode("latin-1")
    return text if text.isprintable() else "".join(one if one.isprintable() else "?" for one in text)
