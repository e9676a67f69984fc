"""A line for each request, or for those that were answered with an error (option ``access-log``)."""

import asyncio
import re
import secrets
from collections.abc import Callable, Mapping
from typing import Final, final

from ff_proxy.bounded import BoundedMap
from ff_proxy.http.observer import Answered
from ff_proxy.model.clock import Clock
from ff_proxy.telemetry.logs import Logger

_EVERY_SECONDS: Final = 10.0
_BUDGET: Final = 256 * 1024
_LONGEST_PATH: Final = 200
_LONGEST: Final = 80
_OK_BELOW: Final = 400
# IPv4 as a socket for both families shows it.
_MAPPED: Final = "::ffff:"
# In the path of a client with a wrong idea of where it belongs.
_TOKEN: Final = re.compile(rb"eyJ[\w-]+(\.[\w-]*){0,2}")
_LEFT_OUT: Final = "requests were refused, as one before"

_Kind = tuple[int, str, str]


@final
class AccessLog:
    """Writes a line for a request with its route, status and caller.

    With ``everything`` each has one. Otherwise only errors have, and of those with the same status, cause and
    environment no more than one within ten seconds: a line with their number follows.

    Attributes:
        known: the beginning of the line of a request of exactly these bytes, if it is remembered.
    """

    def __init__(self, log: Logger, clock: Clock, *, everything: bool) -> None:
        self.all: Final = everything
        self._log = log
        self._prefix: Final = secrets.token_hex(4)
        self._made = 0
        self._beginnings: BoundedMap[bytes, str] = BoundedMap(_BUDGET)
        # Empty for lines that were not wanted, which may change.
        self._levels_of_known = log.levels.changes
        self._waiting: list[str] = []
        self.known: Final[Callable[[bytes], str | None]] = self._beginnings.peek
        self._clock = clock
        self._kinds: BoundedMap[_Kind, _Kept] = BoundedMap(_BUDGET)

    def write(self, answered: Answered) -> None:
        """A request has been answered."""
        if self.all:
            self._write(self._all_facts(answered))
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
            self._tell(kind, kept)
        self._kinds.put(kind, _Kept(now))
        self._log.info("request", **self._all_facts(answered))

    def learn(self, data: bytes, answered: Answered) -> None:
        """As ``write``; the next request of the same bytes is known."""
        self.write(answered)
        beginning = self._log.beginning(**_facts(answered))
        if beginning is not None:
            self._beginnings.put(data, beginning)

    def repeat(self, known: str, peer: str, seconds: float) -> None:
        """A request that was known has been answered."""
        if not known:
            return
        self._made += 1
        peer = peer.removeprefix(_MAPPED)
        more = f',"ms":{seconds * 1000:.3f},"peer":"{peer}","request_id":"{self._prefix}-{self._made}"'
        self._send_soon(self._log.ended(known, "request", more))

    @property
    def kinds(self) -> int:
        """How many kinds of errors are remembered."""
        return len(self._kinds)

    def tick(self) -> None:
        """A second has passed: tell how many were left out."""
        if self._levels_of_known != self._log.levels.changes:
            self._levels_of_known = self._log.levels.changes
            self._beginnings.clear()
        now = self._clock.monotonic()
        for kind, kept in list(self._kinds.items()):
            if now - kept.at >= _EVERY_SECONDS:
                self._tell(kind, kept)
                self._kinds.pop(kind)

    def end(self) -> None:
        """Nothing is written from now on: tell what was left out."""
        for kind, kept in self._kinds.items():
            self._tell(kind, kept)
        self._kinds.clear()

    def _write(self, facts: Mapping[str, object]) -> None:
        beginning = self._log.beginning(**facts)
        if beginning is None:
            self._log.info("request", **facts)
        elif beginning:
            self._send_soon(self._log.ended(beginning, "request", ""))

    def _send_soon(self, line: str) -> None:
        # Lines of one turn of the event loop go out together.
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
        self._made += 1
        return f"{self._prefix}-{self._made}"

    def _all_facts(self, answered: Answered) -> dict[str, object]:
        return _facts(answered) | {
            "ms": round(answered.seconds * 1000, 3),
            "peer": answered.peer.removeprefix(_MAPPED),
            "request_id": self._id_of(answered),
        }

    def _tell(self, kind: _Kind, kept: "_Kept") -> None:
        if kept.left_out:
            status, cause, environment = kind
            facts = {"status": status, "cause": cause, "environment": environment, "left_out": kept.left_out}
            self._log.info(_LEFT_OUT, **{name: fact for name, fact in facts.items() if fact})


class _Kept:
    """When a line of a kind was written, and how many were not since."""

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
    """What a client sent, as far as people can read it."""
    text = sent[:longest].decode("latin-1")
    return text if text.isprintable() else "".join(one if one.isprintable() else "?" for one in text)
