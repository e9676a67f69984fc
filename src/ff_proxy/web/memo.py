"""From the exact bytes of a request to its answer: polling SDKs send the same bytes again and again."""

from typing import Final, final

from ff_proxy.model.environment import Revision
from ff_proxy.store.snapshots import Announcement, Snapshots
from ff_proxy.web.cache import Cache
from ff_proxy.web.counts import Tally
from ff_proxy.web.reply import Reply
from ff_proxy.web.resources import Answer, Resources

LONGEST: Final = 4096
"""Bytes of a request that is still remembered."""

_CAPACITY: Final = 16 * 1024 * 1024
_OVERHEAD: Final = 512
_WINDOW: Final = 16_384
_LEAST_HITS: Final = _WINDOW // 20
_PAUSE: Final = 10 * _WINDOW


@final
class Remembered:
    """An answer to certain bytes, as long as what it was made of is current."""

    __slots__ = ("answer", "reply", "revision", "tail", "tally")

    def __init__(self, answer: Answer, tail: bytes, tally: Tally) -> None:
        self.answer: Final = answer
        self.reply: Final[Reply] = answer.reply
        self.revision: Final[Revision] = answer.revision
        self.tail: Final = tail
        self.tally: Final = tally


class Memo:
    """Bounded, and pauses where it is of no use: behind proxies that make every request unique.

    Args:
        snapshots: tell which revision is current.
        resources: tell whether the rest of an answer is.
        capacity: bytes to spend.
    """

    def __init__(self, snapshots: Snapshots, resources: Resources, *, capacity: int = _CAPACITY) -> None:
        self._snapshots = snapshots
        self._resources = resources
        self._kept: Cache[bytes, Remembered] = Cache(capacity, _weigh)
        self._looked = 0
        self._hits = 0
        self._pausing = 0
        self._swapped = False
        snapshots.listen(self._note)

    def find(self, data: bytes) -> Remembered | None:
        """The answer to a request of exactly these bytes, checked to be current."""
        if self._pausing:
            self._pausing -= 1
            return None
        self._looked += 1
        if self._looked == _WINDOW:
            self._judge()
        held = self._kept.get(data)
        if held is None:
            return None
        if not self._current(held):
            self._kept.drop(data)
            return None
        self._hits += 1
        return held

    def put(self, data: bytes, answer: Answer, tail: bytes, tally: Tally) -> None:
        """Remember ``answer``."""
        if not self._pausing and len(data) <= LONGEST:
            self._kept.put(data, Remembered(answer, tail, tally))

    def sweep(self) -> None:
        """Forget what swapped snapshots left behind; meant to be called about once a second."""
        if self._swapped:
            self._swapped = False
            self._kept.keep(self._current)

    def _current(self, held: Remembered) -> bool:
        snapshot = self._snapshots.get(held.answer.place.environment)
        return (
            snapshot is not None and snapshot.revision is held.revision and self._resources.holds(held.answer)
        )

    def _judge(self) -> None:
        if self._hits < _LEAST_HITS:
            self._pausing = _PAUSE
            self._kept.keep(lambda _: False)
        self._looked = self._hits = 0

    def _note(self, _: Announcement) -> None:
        self._swapped = True


def _weigh(data: bytes, held: Remembered) -> int:
    # Bulk bodies are shared by all who ask; what one target gets is its own.
    own = 2 * len(held.reply.body) if held.answer.place.target_sent or held.answer.place.item else 0
    return len(data) + _OVERHEAD + own
