"""Cached responses, by a request's exact bytes or by the parts of it that the response depends on."""

from collections.abc import Callable
from typing import Final, final

from ff_proxy.bounded import ENTRY_OVERHEAD, BoundedMap
from ff_proxy.http.handler import Cacheable, Lease
from ff_proxy.http.observer import Tally
from ff_proxy.http.response import Response, with_request_id

Key = tuple[bytes | None, ...]
"""A request's target and the values of the header fields that its route declares."""

_LONGEST: Final = 4096
_RECORDS: Final = 1000
"""Bytes that the objects of an entry take."""

_FIELD: Final = 60


@final
class Entry:
    """A cached response, ready to write; valid while ``lease.current`` and ``check()`` (if any) are true.

    ``wire`` holds the bytes for ``date``; a body that is ``apart`` is written after them. ``seen`` is the
    last request that found the entry by its ``Key``.
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
    def valid(self) -> bool:
        """Whether it is still the right response."""
        return self.lease.current and (self.check is None or self.check())

    def redate(self, date: bytes) -> None:
        """Rebuild ``wire`` for a new ``Date``."""
        self.date = date
        self.wire = self.response.wire(date, self.tail)

    def wire_with_id(self, request_id: bytes) -> bytes:
        """``wire`` with a request id."""
        head = self.response.head(self.date, with_request_id(self.tail, request_id))
        return head if self.response.apart else head + self.response.body


@final
class ResponseCache:
    """Keeps responses within a budget.

    Args:
        budget: bytes.
        dropped: called with the number of entries evicted.

    Attributes:
        by_bytes: looks up an entry by a request's exact bytes; the caller checks that it is ``valid``.
        by_key: looks up an entry by its ``Key``; the caller checks that it is ``valid``.
    """

    def __init__(self, budget: int, dropped: Callable[[int], object] = lambda _: None) -> None:
        self._exact: Final[BoundedMap[bytes, Entry]] = BoundedMap(
            budget // 2, lambda data, entry: ENTRY_OVERHEAD + len(data) + entry.cost, dropped
        )
        self._keyed: Final[BoundedMap[Key, Entry]] = BoundedMap(budget // 2, _keyed_cost, dropped)
        self._leases: Final[set[Lease]] = set()
        self.by_bytes: Final[Callable[[bytes], Entry | None]] = self._exact.peek
        self.by_key: Final[Callable[[Key], Entry | None]] = self._keyed.peek

    def put(self, key: Key, cacheable: Cacheable, tail: bytes, tally: Tally) -> None:
        """Add a response; it is sent with ``tail`` and counted in ``tally``."""
        if cacheable.lease.current:
            self._leases.add(cacheable.lease)
            self._keyed.put(key, Entry(cacheable, tail, tally))

    def record_hit(self, data: bytes, entry: Entry) -> None:
        """Note that ``data``, one whole request, hit ``entry``; the second time in a row it becomes a key.

        Clients and proxies that change something in every request would only fill the cache.
        """
        if len(data) > _LONGEST:
            return
        if entry.seen == data:
            self._exact.put(data, entry)
        else:
            entry.seen = data

    def clear(self) -> None:
        """Remove all entries."""
        self._leases.clear()
        self._exact.clear()
        self._keyed.clear()

    def sweep(self) -> None:
        """Remove entries whose lease has ended; call it about once a second."""
        ended = [lease for lease in self._leases if not lease.current]
        if ended:
            self._leases.difference_update(ended)
            self._exact.keep(_is_current)
            self._keyed.keep(_is_current)


def _is_current(entry: Entry) -> bool:
    return entry.lease.current


def _keyed_cost(key: Key, entry: Entry) -> int:
    # Includes an average Entry.seen.
    return ENTRY_OVERHEAD + _LONGEST // 4 + sum(_FIELD + len(part or b"") for part in key) + entry.cost
