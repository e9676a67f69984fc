"""Answers that were given before: found by a request's bytes, or by the lines of it that matter.

Polling SDKs send the same bytes again and again; others, and proxies between, add an id or a trace to each
request, and are known by the rest of their bytes.
"""

from collections.abc import Callable
from typing import Final, final

from ff_proxy.bounded import BoundedMap, cost_of
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.memory import LEAST_SHARES
from ff_proxy.snapshots.registry import Announcement, SnapshotRegistry
from ff_proxy.web.counts import Tally
from ff_proxy.web.reply import Reply
from ff_proxy.web.resources import Answer, Resources

Lines = tuple[bytes, ...]

_LONGEST: Final = 4096
_WAYS: Final = 3
# The records of an answer, and its head as it is written.
_OVERHEAD: Final = 2000
_ENTRY: Final = 300
_LINE: Final = 41
_LEAST_USED: Final = 20
_PAUSES: Final = 10


@final
class Lease:
    """Whether one snapshot is still the one to answer from."""

    __slots__ = ("current",)

    def __init__(self) -> None:
        self.current = True


@final
class Remembered:
    """An answer, ready to be written; good while ``lease.current`` and ``check`` (if any) say so.

    ``wire`` is up to date for ``date``; a body that stands ``apart`` is written after it. ``weight`` is about
    how many bytes it occupies.
    """

    __slots__ = ("answer", "check", "date", "lease", "reply", "tail", "tally", "used", "weight", "wire")

    def __init__(
        self,
        answer: Answer,
        lease: Lease,
        check: Callable[[Answer], bool] | None,
        tail: bytes,
        tally: Tally,
    ) -> None:
        self.answer: Final = answer
        self.reply: Final[Reply] = answer.reply
        self.lease: Final = lease
        self.check: Final = check
        self.tail: Final = tail
        self.tally: Final = tally
        self.date = b""
        self.wire = b""
        self.used = False
        # Bulk bodies are shared by all who ask; what one target gets, or one item, is held by this alone. A
        # body that does not stand apart is held once more, in what is written.
        own = len(answer.reply.body) if answer.place.target_sent or answer.place.item else 0
        written = 0 if answer.reply.apart else len(answer.reply.body)
        described = cost_of(answer.stored) + 4 * (len(answer.place.target_sent) + len(answer.place.item))
        self.weight: Final = _OVERHEAD + len(tail) + own + written + described

    @property
    def good(self) -> bool:
        """Whether it is still the answer to give."""
        return self.lease.current and (self.check is None or self.check(self.answer))


class Memo:
    """Bounded; exact bytes are left alone where they do not come twice, behind proxies that mark requests.

    Args:
        snapshots: say when an environment's answers are outdated.
        resources: check the rest of an answer.
        budget: bytes to spend, over all ways.
        dropped: told how many answers were forgotten for room.

    Attributes:
        by_bytes: a bare look-up by exact bytes.
        by_rest: one by what is left of the bytes when noise has been cut out.
        by_lines: one by the lines that matter. Whether what they find is ``good`` is the caller's to ask.
    """

    def __init__(
        self,
        snapshots: SnapshotRegistry,
        resources: Resources,
        *,
        budget: int = LEAST_SHARES.responses,
        dropped: Callable[[int], object] = lambda _: None,
    ) -> None:
        self._resources = resources
        self._lines: BoundedMap[Lines, Remembered] = BoundedMap(budget // _WAYS, _weigh, dropped)
        self._rests: BoundedMap[bytes, Remembered] = BoundedMap(
            budget // _WAYS, lambda rest, held: _ENTRY + len(rest) + held.weight, dropped
        )
        self._bytes: dict[bytes, Remembered] = {}
        self._capacity = budget // _WAYS
        self._weight = 0
        self._leases: dict[EnvironmentId, Lease] = {}
        self._pausing = 0
        self._outdated = False
        self.by_bytes: Final[Callable[[bytes], Remembered | None]] = self._bytes.get
        self.by_rest: Final[Callable[[bytes], Remembered | None]] = self._rests.recall
        self.by_lines: Final[Callable[[Lines], Remembered | None]] = self._lines.recall
        snapshots.listen(self._swapped)

    def match(self, lines: Lines) -> Remembered | None:
        """The good answer to a request of which exactly these lines matter."""
        held = self._lines.get(lines)
        return held if held is not None and held.good else None

    def match_rest(self, rest: bytes) -> Remembered | None:
        """The good answer to a request of which these bytes are left when noise is cut out."""
        held = self._rests.get(rest)
        return held if held is not None and held.good else None

    def put(self, lines: Lines, answer: Answer, tail: bytes, tally: Tally) -> Remembered:
        """Remember ``answer``; it must have been made in this turn of the event loop."""
        environment = answer.place.environment
        lease = self._leases.get(environment)
        if lease is None:
            lease = self._leases[environment] = Lease()
        held = Remembered(answer, lease, self._resources.check_for(answer), tail, tally)
        self._lines.put(lines, held)
        return held

    def put_without_noise(self, rest: bytes, held: Remembered) -> None:
        """Remember that requests of which these bytes are left get that answer."""
        if len(rest) <= _LONGEST:
            self._rests.put(rest, held)

    def put_exact(self, data: bytes, held: Remembered) -> None:
        """Remember that these bytes get that answer."""
        if self._pausing:
            self._pausing -= 1
        elif len(data) <= _LONGEST:
            self._weight += _ENTRY + len(data) + held.weight
            if self._weight > self._capacity:
                self._turn()
            self._bytes[data] = held

    def sweep(self) -> None:
        """Forget what swapped snapshots left behind; meant to be called about once a second."""
        if self._outdated:
            self._outdated = False
            self._lines.keep(_is_current)
            self._rests.keep(_is_current)
            for data in [data for data, held in self._bytes.items() if not held.lease.current]:
                del self._bytes[data]

    def _turn(self) -> None:
        # What is still asked for comes back by its lines.
        used = sum(held.used for held in self._bytes.values())
        if used * _LEAST_USED < len(self._bytes):
            self._pausing = len(self._bytes) * _PAUSES
        self._bytes.clear()
        self._weight = 0

    def _swapped(self, announcement: Announcement) -> None:
        lease = self._leases.pop(announcement.environment, None)
        if lease is not None:
            lease.current = False
            self._outdated = True


def _is_current(held: Remembered) -> bool:
    return held.lease.current


def _weigh(lines: Lines, held: Remembered) -> int:
    return _ENTRY + sum(map(len, lines)) + _LINE * len(lines) + held.weight
