"""Reading the body that SDKs post to ``/metrics/{env}``, piece by piece as it arrives.

Whatever part of a body can be used is used (spec/sdk-wire#usage-body). An entry that cannot is counted and
left out, and only a body that is no JSON object is refused. It may be in UTF-8, UTF-16 or UTF-32.
"""

import codecs
import json
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

from ff_proxy.errors import MalformedJson, RequestError
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.usage import MAX_COUNT, Attributes, UsageCount, UsageKey, UsageTarget
from ff_proxy.wire.json_pieces import JsonPieces
from ff_proxy.wire.usage import SdkLabels, UsageReport
from ff_proxy.wire.values import decode_json

MAX_ENTRY_BYTES: Final = 64 * 1024
"""An entry whose JSON is longer counts as bad, so that one entry always fits into a body for SaaS."""

STEP_BYTES: Final = 8 * 1024
"""So much of a body is read in some milliseconds, whatever is in it."""

_USUAL_TYPE: Final = "FFMETRICS"
_NULL: Final = msgspec.Raw(b"null")
_COUNTS: Final = "metricsData"
_TARGETS: Final = "targetData"
# What tells in which encoding JSON is.
_TELLING_BYTES: Final = 4


class _Pair(msgspec.Struct, gc=False):
    key: Any = None
    value: msgspec.Raw = _NULL


class _Entry(msgspec.Struct, gc=False):
    attributes: list[_Pair | None] | None = None


class _Count(_Entry, gc=False, rename="camel"):
    timestamp: Any = None
    count: Any = None
    metrics_type: Any = None


class _Target(_Entry, gc=False):
    identifier: Any = None
    name: Any = None


_read_count: Final = msgspec.json.Decoder(_Count).decode
_read_target: Final = msgspec.json.Decoder(_Target).decode
_ANY_SIZE: Final = 4 * MAX_ENTRY_BYTES
_UNUSABLE: Final = (MalformedJson, msgspec.DecodeError, ValueError, ArithmeticError, RecursionError)


class UsageReader:
    """Reads one body.

    Args:
        environment: whose usage it is.
        received: epoch milliseconds; stands in for timestamps that are missing or unusable.
    """

    def __init__(self, environment: EnvironmentId, received: int) -> None:
        self._entries = _Entries(environment, received)
        self._pieces = JsonPieces((_COUNTS, _TARGETS), MAX_ENTRY_BYTES, self._entries)
        self._beginning: bytes | None = b""
        self._decode: Callable[[bytes, bool], str] = _utf8

    def feed(self, data: bytes) -> UsageReport:
        """What became readable with the next bytes of the body; raises ``RequestError`` 400.

        What went before is usable even if the body turns out to be unreadable. ``STEP_BYTES`` at a time keep
        the event loop free.
        """
        if self._beginning is not None:
            data = self._beginning + data
            if len(data) < _TELLING_BYTES:
                self._beginning = data
                return self._entries.report()
            self._begin(data)
        for start in range(0, len(data), STEP_BYTES):
            self._pieces.feed(self._text(data[start : start + STEP_BYTES]))
        return self._entries.report()

    def finish(self) -> UsageReport:
        """What became readable with the end of the body; raises ``RequestError`` 400."""
        data = b""
        if self._beginning is not None:
            data = self._beginning
            self._begin(data)
        self._pieces.feed(self._text(data, final=True))
        self._pieces.finish()
        return self._entries.report()

    def _begin(self, data: bytes) -> None:
        self._beginning = None
        # One half of a pair of surrogates is written by some, and mended with the entry that holds it.
        decoder = codecs.getincrementaldecoder(json.detect_encoding(data))("surrogatepass")
        self._decode = decoder.decode

    def _text(self, data: bytes, *, final: bool = False) -> str:
        try:
            return self._decode(data, final)
        except UnicodeDecodeError as error:
            raise RequestError(400, "the body is not UTF-8, UTF-16 or UTF-32") from error


class _Entries:
    """Takes entries in; see ``ElementSink``."""

    def __init__(self, environment: EnvironmentId, received: int) -> None:
        self._environment = environment
        self._received = received
        self._counts: list[UsageCount] = []
        self._targets: list[UsageTarget] = []
        self._bad = 0

    def report(self) -> UsageReport:
        """What was taken since the last report."""
        report = UsageReport(tuple(self._counts), tuple(self._targets), _labels(self._counts), self._bad)
        self._counts, self._targets, self._bad = [], [], 0
        return report

    def offer(self, array: str, text: str) -> bool:
        """See ``ElementSink``."""
        try:
            entry = _decoded(array, text.encode())
        except _UNUSABLE:
            return False
        self._add(entry)
        return True

    def take(self, array: str, text: str) -> None:
        """See ``ElementSink``."""
        try:
            entry = _decoded(array, _clean(text))
        except _UNUSABLE:
            self._bad += 1
        else:
            self._add(entry)

    def unusable(self, array: str, elements: int) -> None:
        """See ``ElementSink``."""
        del array
        self._bad += elements

    def _add(self, entry: _Count | _Target) -> None:
        try:
            if isinstance(entry, _Count):
                count = _count(entry, self._environment, self._received)
                if count is not None:
                    self._counts.append(count)
                    return
            else:
                target = _target(entry, self._environment)
                if target is not None:
                    self._targets.append(target)
                    return
        except _UNUSABLE:
            pass
        self._bad += 1


def read_usage(body: bytes, environment: EnvironmentId, received: int) -> UsageReport:
    """A whole posted body at once; see ``UsageReader`` for what goes in and which error comes out."""
    reader = UsageReader(environment, received)
    first, last = reader.feed(body), reader.finish()
    counts = first.counts + last.counts
    return UsageReport(counts, first.targets + last.targets, _labels(counts), first.bad + last.bad)


def steps(piece: bytes) -> Iterator[bytes]:
    """A piece of a body in steps that can be read one at a time."""
    return (piece[start : start + STEP_BYTES] for start in range(0, len(piece), STEP_BYTES))


def _utf8(data: bytes, final: bool) -> str:
    del final
    return data.decode()


def _decoded(array: str, data: bytes) -> _Count | _Target:
    if len(data) > MAX_ENTRY_BYTES:
        raise ValueError
    return _read_count(data) if array == _COUNTS else _read_target(data)


def _clean(text: str) -> bytes:
    try:
        data = text.encode()
        msgspec.json.decode(data, type=msgspec.Raw)
    except (msgspec.DecodeError, UnicodeEncodeError):
        # JavaScript cuts strings between surrogates and Python writes NaN: JSON that strict readers refuse.
        return msgspec.json.encode(decode_json(text.encode("utf-8", "surrogatepass"), repairable=_ANY_SIZE))
    return data


def _count(entry: _Count, environment: EnvironmentId, received: int) -> UsageCount | None:
    attributes = _canonical(entry.attributes)
    kind = _USUAL_TYPE if entry.metrics_type is None else entry.metrics_type
    count = _whole(entry.count)
    if not attributes or not isinstance(kind, str) or count is None:
        return None
    return UsageCount(UsageKey(environment, kind, attributes), count, _whole(entry.timestamp) or received)


def _target(entry: _Target, environment: EnvironmentId) -> UsageTarget | None:
    attributes = _canonical(entry.attributes)
    if not isinstance(entry.identifier, str) or not entry.identifier:
        return None
    name = entry.name if isinstance(entry.name, str) and entry.name else entry.identifier
    return UsageTarget(environment, entry.identifier, name, attributes)


def _canonical(pairs: list[_Pair | None] | None) -> Attributes:
    # Pairs without a key are what some SDKs leave of private attributes: normal, and nothing to count.
    if not pairs:
        return ()
    found = [
        (pair.key, _compact(str(pair.value, "utf-8")))
        for pair in pairs
        if pair is not None and isinstance(pair.key, str)
    ]
    found.sort()
    return tuple(found)


def _compact(text: str) -> str:
    # One value must have one text, or equal counts would not meet.
    if text[0] in "{[":
        return msgspec.json.format(text, indent=-1)
    if "\\" in text:
        return msgspec.json.encode(msgspec.json.decode(text)).decode()
    return text


def _whole(value: object) -> int | None:
    """``value`` as a whole number from 1 to ``MAX_COUNT``, if that is what it is."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if not 1 <= value <= MAX_COUNT or value != int(value):
        return None
    return int(value)


def _labels(counts: list[UsageCount] | tuple[UsageCount, ...]) -> SdkLabels:
    if not counts:
        return SdkLabels()
    texts = dict(counts[0].key.attributes)
    version = texts.get("SDK_VERSION") or texts.get("JAR_VERSION", "")
    return SdkLabels(
        type=_plain(texts.get("SDK_TYPE", "")),
        version=_plain(version),
        language=_plain(texts.get("SDK_LANGUAGE", "")),
    )


def _plain(text: str) -> str:
    return str(msgspec.json.decode(text)) if text.startswith('"') else text
