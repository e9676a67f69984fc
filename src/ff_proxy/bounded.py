"""Containers with a budget in bytes: the one bounded mapping, and what a value costs.

Everything that grows with outside input lives in a ``BoundedMap``: caches drop what was not used for longest
to make room (``put``), queues refuse what finds none (``offer``). Both are counted by whoever is told
(``dropped``). A room of its own without imports, so that every other room can use it.
"""

import sys
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from itertools import chain
from typing import Final, Generic, TypeVar, overload

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")
_Default = TypeVar("_Default")

ENTRY_OVERHEAD: Final = 260
"""Bytes that an entry takes besides key and value: two hash table slots, a list node and its cost."""

_FLAT: Final = frozenset({str, bytes, int, float, bool, type(None), bytearray, complex})


def _unheard(_: int) -> None:
    """Nobody counts what is dropped."""


def cost_of(*values: object) -> int:
    """The bytes of memory that ``values`` take together, as far as they do not share them with others.

    Texts, bytes, numbers, containers, and records with fields (msgspec structs, slots, dataclasses) are
    followed to any depth. What appears twice counts once.
    """
    total = 0
    seen: set[int] = set()
    pending: list[object] = list(values)
    while pending:
        value = pending.pop()
        kind = type(value)
        if kind in _FLAT:
            total += sys.getsizeof(value)
            continue
        if id(value) in seen:
            continue
        seen.add(id(value))
        total += sys.getsizeof(value)
        pending.extend(_parts(value))
    return total


def _parts(value: object) -> Iterable[object]:
    if isinstance(value, Mapping):
        return chain(value.keys(), value.values())
    if isinstance(value, tuple | list | AbstractSet):
        return value
    names: Iterable[str] = getattr(value, "__struct_fields__", ()) or getattr(value, "__slots__", ())
    held: Mapping[str, object] = getattr(value, "__dict__", {})
    return chain((getattr(value, name, None) for name in names), held.values())


def entry_cost(key: object, value: object) -> int:
    """What an entry of a ``BoundedMap`` costs if nobody knows better."""
    return ENTRY_OVERHEAD + cost_of(key, value)


class BoundedMap(Generic[_Key, _Value]):
    """A mapping whose entries together cost ``budget`` bytes at most.

    Args:
        budget: bytes.
        cost: bytes that an entry takes, asked once when it comes in; ``ENTRY_OVERHEAD`` is for it to count.
        dropped: told how many entries had to go, or found no room.

    Attributes:
        peek: a bare look-up that does not count as use, for callers that cannot afford ``get``.
    """

    __slots__ = ("_budget", "_cost", "_costs", "_dropped", "_entries", "_spent", "peek")

    def __init__(
        self,
        budget: int,
        cost: Callable[[_Key, _Value], int] = entry_cost,
        dropped: Callable[[int], object] = _unheard,
    ) -> None:
        self._budget: Final = budget
        self._cost: Final = cost
        self._dropped: Final = dropped
        self._entries: Final[OrderedDict[_Key, _Value]] = OrderedDict()
        self._costs: Final[dict[_Key, int]] = {}
        self._spent = 0
        self.peek: Final[Callable[[_Key], _Value | None]] = self._entries.get

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: _Key) -> bool:
        return key in self._entries

    def __iter__(self) -> Iterator[_Key]:
        """Keys, the one that would be dropped first in front."""
        return iter(self._entries)

    @property
    def spent(self) -> int:
        """Bytes that the entries cost."""
        return self._spent

    def values(self) -> Iterable[_Value]:
        """Values, in the order of their keys."""
        return self._entries.values()

    def items(self) -> Iterable[tuple[_Key, _Value]]:
        """Keys with their values, in order."""
        return self._entries.items()

    @overload
    def get(self, key: _Key) -> _Value | None: ...

    @overload
    def get(self, key: _Key, default: _Default) -> _Value | _Default: ...

    def get(self, key: _Key, default: _Default | None = None) -> _Value | _Default | None:
        """What is kept under ``key``; it counts as used."""
        if key not in self._entries:
            return default
        self._entries.move_to_end(key)
        return self._entries[key]

    def put(self, key: _Key, value: _Value) -> bool:
        """Keep ``value`` as the last to be dropped; ``False`` if it alone is more than the budget.

        What was kept under ``key`` is gone either way: it is not the truth any more.
        """
        self.pop(key)
        cost = self._cost(key, value)
        if cost > self._budget:
            self._dropped(1)
            return False
        gone = 0
        while self._spent + cost > self._budget:
            self._forget(next(iter(self._entries)))
            gone += 1
        self._keep(key, value, cost)
        if gone:
            self._dropped(gone)
        return True

    def offer(self, key: _Key, value: _Value) -> bool:
        """Keep ``value`` if there is room, in the place of what was there; ``False`` leaves all as it was."""
        cost = self._cost(key, value)
        if self._spent - self._costs.get(key, 0) + cost > self._budget:
            self._dropped(1)
            return False
        self._spent -= self._costs.get(key, 0)
        self._keep(key, value, cost)
        return True

    def pop(self, key: _Key) -> _Value | None:
        """Take out what is kept under ``key``, if anything is."""
        return self._forget(key) if key in self._entries else None

    def keep(self, wanted: Callable[[_Value], bool]) -> None:
        """Forget everything but what is ``wanted``; that is no drop."""
        for key in [key for key, value in self._entries.items() if not wanted(value)]:
            self._forget(key)

    def clear(self) -> None:
        """Forget everything; that is no drop."""
        self._entries.clear()
        self._costs.clear()
        self._spent = 0

    def _keep(self, key: _Key, value: _Value, cost: int) -> None:
        self._entries[key] = value
        self._costs[key] = cost
        self._spent += cost

    def _forget(self, key: _Key) -> _Value:
        self._spent -= self._costs.pop(key)
        return self._entries.pop(key)
