"""Comparing the answers of two proxies; differences may be known ones."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from ff_proxy.commands.compare import known
from ff_proxy.commands.compare.known import Kind
from ff_proxy.errors import MalformedJson
from ff_proxy.upstream.transport import Reply
from ff_proxy.wire.values import decode_json

_SHOWN: Final = 80
_NONE: Final = object()
_NAMES: Final = ("feature", "flag", "ruleId", "identifier")
_CORS: Final = "access-control-allow-origin"
_SUCCESSES: Final = range(200, 300)
_Labelled = Mapping[object, object]

ORIGIN: Final = "https://compare.example"


class Difference(msgspec.Struct, frozen=True):
    """One difference; ``known`` is its title in docs/compatibility.md, empty if it has none."""

    question: str
    place: str
    old: str
    new: str
    known: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer: status (0 for none), header fields in lower case, and JSON or other text."""

    status: int
    headers: Mapping[str, str]
    document: object
    text: str = ""

    @property
    def good(self) -> bool:
        """Whether it is a success."""
        return self.status in _SUCCESSES


def read_answer(reply: Reply) -> Answer:
    """Parse an answer."""
    try:
        document = decode_json(reply.body, max_lenient_bytes=len(reply.body))
    except MalformedJson:
        document = _NONE
    return Answer(reply.status, reply.headers, document, reply.body[:_SHOWN].decode("utf-8", "replace"))


def no_answer(reason: str) -> Answer:
    """The answer of a proxy that did not answer."""
    return Answer(0, {}, _NONE, reason)


def compare(question: str, kind: Kind, old: Answer, new: Answer) -> list[Difference]:
    """Every difference between two answers to ``question``."""
    if old.status != new.status:
        title = known.status(kind, old.status, new.status)
        found = [Difference(question, "status", _status(old), _status(new), title)]
        return found if title or not (old.good and new.good) else [*found, *_bodies(question, kind, old, new)]
    headers = list(_headers(question, old, new))
    return headers + (_bodies(question, kind, old, new) if old.good else [])


def _status(answer: Answer) -> str:
    return str(answer.status) if answer.status else f"no answer ({answer.text})"


def _headers(question: str, old: Answer, new: Answer) -> Iterator[Difference]:
    for name, read in (("content-type", _media_type), (_CORS, _allows)):
        was, now = read(old.headers.get(name, "")), read(new.headers.get(name, ""))
        if was != now and (name != "content-type" or old.good):
            yield Difference(question, f"header {name}", was or "none", now or "none")


def _media_type(text: str) -> str:
    media, _, parameters = text.lower().partition(";")
    charset = parameters.replace(" ", "").replace("charset=utf-8", "").strip(";")
    return f"{media.strip()}{f'; {charset}' if charset else ''}"


def _allows(text: str) -> str:
    return "allows the origin" if text in {"*", ORIGIN} else text


def _bodies(question: str, kind: Kind, old: Answer, new: Answer) -> list[Difference]:
    if old.document is _NONE or new.document is _NONE:
        same = old.document is new.document and old.text == new.text
        return [] if same else [Difference(question, "body", old.text, new.text)]
    was, now = old.document, new.document
    found: list[Difference] = []
    if kind is Kind.EVALUATIONS:
        was, found = _without_empty(question, was, now)
    for place, before, after in _differences(was, now, ""):
        title = known.value(kind, place, before, after, (was, now))
        found.append(Difference(question, place or "body", _shown(before), _shown(after), title))
    return found


def _without_empty(question: str, old: object, new: object) -> tuple[object, list[Difference]]:
    """``old`` without flags that have no variation, if ``new`` leaves them out."""
    if not isinstance(old, list) or not isinstance(new, list):
        return old, []
    there = {entry.get("flag") for entry in new if isinstance(entry, dict)}
    gone = [
        entry
        for entry in old
        if isinstance(entry, dict)
        and not entry.get("identifier")
        and not entry.get("value")
        and entry.get("flag") not in there
    ]
    found = [
        Difference(question, f"[{entry.get('flag')}]", _shown(entry), "nothing", known.Title.NO_VARIATION)
        for entry in gone
    ]
    return [entry for entry in old if entry not in gone], found


def _differences(old: object, new: object, place: str) -> Iterator[tuple[str, object, object]]:
    """The places where two documents differ. Empty equals absent, since no SDK tells them apart."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in dict.fromkeys([*old, *new]):
            below = f"{place}.{name}" if place else str(name)
            was, now = (_named_after(side) if name == "name" else side.get(name) for side in (old, new))
            yield from _differences(was, now, below)
    elif isinstance(old, list) and isinstance(new, list):
        before, after = _labelled(old, new)
        for label in dict.fromkeys([*before, *after]):
            yield from _differences(before.get(label), after.get(label), f"{place}[{label}]")
    elif not _same(old, new):
        yield place, old, new


def _named_after(side: Mapping[object, object]) -> object:
    """Its name, or else its identifier."""
    return side.get("name") or side.get("identifier")


def _labelled(old: Sequence[object], new: Sequence[object]) -> tuple[_Labelled, _Labelled]:
    """Entries by name if all have one, else by position, so that their order matters."""
    entries = [entry for entry in (*old, *new) if isinstance(entry, Mapping)]
    for name in _NAMES:
        if len(entries) == len(old) + len(new) and all(isinstance(one.get(name), str) for one in entries):
            labelled = [(entry[name], entry) for entry in entries]
            return dict(labelled[: len(old)]), dict(labelled[len(old) :])
    return dict(enumerate(old)), dict(enumerate(new))


def _same(old: object, new: object) -> bool:
    if _empty(old) and _empty(new):
        return True
    # Python takes 1 and true for equal.
    return type(old) is type(new) and old == new


def _empty(value: object) -> bool:
    return value is None or value is False or value in ("", [], {})


def _shown(value: object) -> str:
    text = "nothing" if value is None else json.dumps(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
