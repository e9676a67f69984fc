"""A bounded memory of things that can be made again."""

from collections.abc import Callable
from typing import Final, Generic, TypeVar, final

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


def _one(_: object, __: object) -> int:
    return 1


@final
class Cache(Generic[_Key, _Value]):
    """Keeps what was used lately, in two generations, each of at most half of ``capacity``.

    When the young generation is full it becomes the old one, and what was the old one is forgotten:
    bookkeeping costs nothing on a hit, and everything used since the last turn survives the next.

    Args:
        capacity: the sum of weights to keep.
        weigh: the weight of an entry; by default each weighs 1.

    Attributes:
        recall: a bare look-up in the young generation, for callers that cannot afford ``get`` at once.
    """

    __slots__ = ("_half", "_old", "_weigh", "_weight", "_young", "recall")

    def __init__(
        self,
        capacity: int,
        weigh: Callable[[_Key, _Value], int] = _one,
    ) -> None:
        self._half: Final = capacity // 2
        self._weigh: Final = weigh
        self._weight = 0
        self._young: Final[dict[_Key, _Value]] = {}
        self._old: dict[_Key, _Value] = {}
        self.recall: Final[Callable[[_Key], _Value | None]] = self._young.get

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def get(self, key: _Key) -> _Value | None:
        """What is kept under ``key``; it counts as used."""
        value = self._young.get(key)
        if value is None and self._old:
            value = self._old.pop(key, None)
            if value is not None:
                self.put(key, value)
        return value

    def put(self, key: _Key, value: _Value) -> None:
        """Keep ``value``, unless it alone is heavier than a generation."""
        weight = self._weigh(key, value)
        if weight > self._half:
            return
        if self._weight + weight > self._half:
            self._old = dict(self._young)
            self._young.clear()
            self._weight = 0
        if key not in self._young:
            self._weight += weight
        self._young[key] = value

    def keep(self, wanted: Callable[[_Value], bool]) -> None:
        """Forget everything but what is ``wanted``."""
        kept = {key: value for key, value in self._young.items() if wanted(value)}
        self._old = {key: value for key, value in self._old.items() if wanted(value)}
        self._young.clear()
        self._young.update(kept)
        self._weight = sum(self._weigh(key, value) for key, value in kept.items())

    def drop(self, key: _Key) -> None:
        """Forget ``key``; its weight is regained at the next turn."""
        self._young.pop(key, None)
        self._old.pop(key, None)
