"""The differences between two versions of an item, place by place, for people."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

_NAMES: Final = ("identifier", "ruleId", "clauseId", "id", "variation", "feature")
_LONGEST: Final = 300
_MOST: Final = 100
_UNINTERESTING: Final = frozenset({"version"})


@dataclass(frozen=True, slots=True)
class Difference:
    """A place and its value before and after; ``None`` if there was or is none."""

    place: str
    before: str | None
    after: str | None


def differences(before: bytes | None, after: bytes | None) -> tuple[Difference, ...]:
    """The places where two JSON objects differ; if there are too many, the last entry says so."""
    if before is None or after is None:
        return ()
    found: list[Difference] = []
    for one in _compare("", json.loads(before), json.loads(after)):
        if len(found) == _MOST:
            found.append(Difference("and more", None, None))
            break
        found.append(one)
    return tuple(found)


def _compare(place: str, before: object, after: object) -> Iterator[Difference]:
    if before == after:
        return
    old, new = _named(before), _named(after)
    if old is None or new is None:
        yield Difference(place or "all", _text(before), _text(after))
        return
    for name in [*old, *(name for name in new if name not in old)]:
        if not place and name in _UNINTERESTING:
            continue
        inner = f"{place} / {name}" if place else name
        if name not in new:
            yield Difference(inner, _text(old[name]), None)
        elif name not in old:
            yield Difference(inner, None, _text(new[name]))
        else:
            yield from _compare(inner, old[name], new[name])


def _named(value: object) -> Mapping[str, object] | None:
    """The parts of ``value`` by name, if it has parts."""
    if isinstance(value, dict):
        return value
    if not isinstance(value, list):
        return None
    named: dict[str, object] = {}
    for number, entry in enumerate(value, 1):
        name = str(number)
        if isinstance(entry, str):
            name = entry
        elif isinstance(entry, dict):
            name = next((str(entry[key]) for key in _NAMES if entry.get(key)), name)
        named[name if name not in named else f"{name} ({number})"] = entry
    return named


def _text(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
