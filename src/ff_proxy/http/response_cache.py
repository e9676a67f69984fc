"""Responses that were given before, found by a request's exact bytes or by what its answer depends on."""

from collections.abc import Callable
from typing import Final, final

from ff_proxy.bounded import ENTRY_OVERHEAD, BoundedMap
from ff_proxy.http.handler import Cacheable, Lease
from ff_proxy.http.observer import Tally
from ff_proxy.http.response import Response, echoing

Key = tuple[bytes | None, ...]
"""A request's target, and the values of the header fields that its route declares."""

_LONGEST: Final = 4096
_RECORDS: Final = 1000
"""Bytes that an entry's own records take."""

_FIELD: Final = 60


@final
class Entry:
    """A response, ready to be written; good while ``lease.current`` and ``check`` (if any) says so.

    ``wire`` is up to date for ``date``; a body that stands ``apart`` is written after it. ``seen`` is the
    last request that got it by ``Key``.
    """

    __slots__ = ("check", "cost", "date", "lease", "response", "seen", "tail", "tally", "wire")

    def __init__(self, cacheable: Cacheable, tail: bytes, tally: Tally) -> None:
        self.response: Final[Response] = cacheable.response
        self.lease: Final[Lease] = cacheable.lease
        self.check: Final[Callable[[], bool] | None] = cacheable.check
        self.tail: Final = tail
        self.tally: Final = tally
        self.date = b""
        self.wire = b""
        self.seen = b""
        length = len(self.response.body)
        own = 0 if self.response.shared else length
        written = 0 if self.response.apart else length
        self.cost: Final = _RECORDS + len(tail) + own + written

    @property
    def good(self) -> bool:
        """Whether it is still the answer to give."""
        return self.lease.current and (self.check is None or self.check())

    def redate(self, date: bytes) -> None:
        """Bring ``wire`` up to date."""
        self.date = date
        self.wire = self.response.wire(date, self.tail)

    def echoing(self, request_id: bytes) -> bytes:
        """``wire`` with the id of a request."""
        head = self.response.head(self.date, echoing(self.tail, request_id))
        return head if self.response.apart else head + self.response.body


@final
class ResponseCache:
    """Bounded.

    Args:
        budget: bytes.
        dropped: told how many entries were forgotten for room.

    Attributes:
        by_bytes: an entry by a request's exact bytes; whether it is ``good`` is the caller's to ask.
        by_key: likewise by what the answer depends on.
    """

    def __init__(self, budget: int, dropped: Callable[[int], object] = lambda _: None) -> None:
        self._exact: Final[BoundedMap[bytes, Entry]] = BoundedMap(
            budget // 2, lambda data, entry: ENTRY_OVERHEAD + len(data) + entry.cost, dropped
        )
        self._keyed: Final[BoundedMap[Key, Entry]] = BoundedMap(budget // 2, _keyed_cost, dropped)
        self._leases: Final[set[Lease]] = set()
        self.by_bytes: Final[Callable[[bytes], Entry | None]] = self._exact.recall
        self.by_key: Final[Callable[[Key], Entry | None]] = self._keyed.recall

    def put(self, key: Key, cacheable: Cacheable, tail: bytes, tally: Tally) -> None:
        """Keep a response; ``tail`` is what it is sent with, ``tally`` counts it."""
        if cacheable.lease.current:
            self._leases.add(cacheable.lease)
            self._keyed.put(key, Entry(cacheable, tail, tally))

    def found_again(self, data: bytes, entry: Entry) -> None:
        """``data``, all of a request and no more, got ``entry``: the second time in a row it is remembered.

        Clients and proxies that put something new into each request would only fill the cache.
        """
        if len(data) > _LONGEST:
            return
        if entry.seen == data:
            self._exact.put(data, entry)
        else:
            entry.seen = data

    def clear(self) -> None:
        """Forget everything."""
        self._leases.clear()
        self._exact.clear()
        self._keyed.clear()

    def sweep(self) -> None:
        """Forget what has become outdated; meant to be called about once a second."""
        ended = [lease for lease in self._leases if not lease.current]
        if ended:
            self._leases.difference_update(ended)
            self._exact.keep(_is_current)
            self._keyed.keep(_is_current)


def _is_current(entry: Entry) -> bool:
    return entry.lease.current


def _keyed_cost(key: Key, entry: Entry) -> int:
    # What was seen last is kept as well.
    return ENTRY_OVERHEAD + _LONGEST // 4 + sum(_FIELD + len(part or b"") for part in key) + entry.cost
