"""Reading the body that SDKs post to ``/metrics/{env}``, incrementally.

Every usable part of a body is used (spec/sdk-wire#usage-body). Unusable entries are counted and dropped; only
a body that is not a JSON object is refused. The encoding may be UTF-8, UTF-16 or UTF-32; bytes that are not
valid UTF-8 become U+FFFD.
"""

import codecs
import json
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

from ff_proxy.bounded import BoundedMap
from ff_proxy.errors import MalformedJson, RequestError
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.usage import MAX_COUNT, Attributes, UsageCount, UsageKey, UsageTarget
from ff_proxy.wire.incremental_json import IncrementalJson
from ff_proxy.wire.usage import SdkLabels, UsageReport
from ff_proxy.wire.values import decode_json

MAX_ENTRY_BYTES: Final = 64 * 1024
"""An entry with longer JSON counts as bad, so that one entry always fits into a body for Harness."""

STEP_BYTES: Final = 8 * 1024
"""Bytes that take at most a few milliseconds to parse, whatever they hold."""

_DEFAULT_TYPE: Final = "FFMETRICS"
_NULL: Final = msgspec.Raw(b"null")
_COUNTS: Final = "metricsData"
_TARGETS: Final = "targetData"
# The first bytes of JSON reveal its encoding.
_DETECTION_BYTES: Final = 4
_UTF_8: Final = "utf-8"


class _Pair(msgspec.Struct, gc=False):
    key: Any = None
    value: msgspec.Raw = _NULL


class _Count(msgspec.Struct, gc=False, rename="camel"):
    attributes: msgspec.Raw = _NULL
    timestamp: Any = None
    count: Any = None
    metrics_type: Any = None


class _Target(msgspec.Struct, gc=False):
    attributes: list[_Pair | None] | None = None
    identifier: Any = None
    name: Any = None


_read_count: Final = msgspec.json.Decoder(_Count).decode
_read_target: Final = msgspec.json.Decoder(_Target).decode
_read_pairs: Final = msgspec.json.Decoder(list[_Pair | None] | None).decode
_MAX_LENIENT_BYTES: Final = 4 * MAX_ENTRY_BYTES
_UNUSABLE: Final = (MalformedJson, msgspec.DecodeError, ValueError, ArithmeticError, RecursionError)


class UsageKeys:
    """The keys of counts by their JSON: SDKs send the same ones every minute, and reading one takes long.

    Args:
        budget: bytes; the oldest keys make room for new ones.
    """

    def __init__(self, budget: int) -> None:
        self._keys: BoundedMap[tuple[EnvironmentId, str, bytes], UsageKey] = BoundedMap(budget, _key_cost)

    def read(self, environment: EnvironmentId, kind: str, attributes: bytes) -> UsageKey | None:
        """The key with these attributes, as JSON; ``None`` if there are none. Raises ``DecodeError``."""
        name = (environment, kind, attributes)
        key = self._keys.peek(name)
        if key is None and (canonical := _canonical(_read_pairs(attributes))):
            key = UsageKey(environment, kind, canonical)
            self._keys.put(name, key)
        return key


def _key_cost(name: tuple[EnvironmentId, str, bytes], key: UsageKey) -> int:
    return len(name[2]) + key.weight


class UsageReader:
    """Parses one body.

    Args:
        environment: whose usage it is.
        received: epoch milliseconds; replaces timestamps that are missing or unusable.
        keys: the keys of earlier bodies.
    """

    def __init__(self, environment: EnvironmentId, received: int, keys: UsageKeys) -> None:
        self._entries = _Entries(environment, received, keys)
        self._json = IncrementalJson((_COUNTS, _TARGETS), MAX_ENTRY_BYTES, self._entries)
        self._prefix: bytes | None = b""
        self._decode: Callable[[bytes, bool], str]

    def feed(self, data: bytes) -> UsageReport:
        """Parse the next bytes and return the entries they complete; raises ``RequestError`` 400.

        Earlier entries stay usable even if the body turns out to be unreadable. Feed ``STEP_BYTES`` at a time
        to keep the event loop free.
        """
        if self._prefix is not None:
            data = self._prefix + data
            if len(data) < _DETECTION_BYTES:
                self._prefix = data
                return self._entries.report()
            self._detect_encoding(data)
        for start in range(0, len(data), STEP_BYTES):
            self._json.feed(self._text(data[start : start + STEP_BYTES]))
        return self._entries.report()

    def finish(self) -> UsageReport:
        """Parse the end of the body and return the entries it completes; raises ``RequestError`` 400."""
        data = b""
        if self._prefix is not None:
            data = self._prefix
            self._detect_encoding(data)
        self._json.feed(self._text(data, final=True))
        self._json.finish()
        return self._entries.report()

    def _detect_encoding(self, data: bytes) -> None:
        self._prefix = None
        # Some SDKs write lone surrogates; they are repaired when their entry is decoded.
        decoder = codecs.getincrementaldecoder(json.detect_encoding(data))("surrogatepass")
        self._decode = decoder.decode

    def _text(self, data: bytes, *, final: bool = False) -> str:
        try:
            return self._decode(data, final)
        except UnicodeDecodeError as error:
            if error.encoding != _UTF_8:
                raise RequestError(400, "the body is not UTF-8, UTF-16 or UTF-32") from error
            # As in Go, an invalid byte becomes U+FFFD: one odd text must not cost everybody's counts.
            decoder = codecs.getincrementaldecoder(_UTF_8)("replace")
            self._decode = decoder.decode
            valid = error.object[: error.start].decode(_UTF_8, "surrogatepass")
            return valid + decoder.decode(error.object[error.start :], final)


class _Entries:
    """Collects entries; see ``ElementSink``."""

    def __init__(self, environment: EnvironmentId, received: int, keys: UsageKeys) -> None:
        self._environment = environment
        self._received = received
        self._keys = keys
        self._counts: list[UsageCount] = []
        self._targets: list[UsageTarget] = []
        self._bad = 0

    def report(self) -> UsageReport:
        """The entries since the last report."""
        report = UsageReport(tuple(self._counts), tuple(self._targets), _labels(self._counts), self._bad)
        self._counts, self._targets, self._bad = [], [], 0
        return report

    def try_add(self, array: str, text: str) -> bool:
        """See ``ElementSink``."""
        try:
            entry = _decoded(array, text.encode())
        except _UNUSABLE:
            return False
        self._add(entry)
        return True

    def add(self, array: str, text: str) -> None:
        """See ``ElementSink``."""
        try:
            entry = _decoded(array, _clean(text))
        except _UNUSABLE:
            self._bad += 1
        else:
            self._add(entry)

    def count_unusable(self, elements: int) -> None:
        """See ``ElementSink``."""
        self._bad += elements

    def _add(self, entry: _Count | _Target) -> None:
        try:
            if isinstance(entry, _Count):
                count = _count(entry, self._environment, self._received, self._keys)
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


def steps(piece: bytes) -> Iterator[bytes]:
    """Split a piece of a body into steps of ``STEP_BYTES``."""
    return (piece[start : start + STEP_BYTES] for start in range(0, len(piece), STEP_BYTES))


def _decoded(array: str, data: bytes) -> _Count | _Target:
    if len(data) > MAX_ENTRY_BYTES:
        raise ValueError
    return _read_count(data) if array == _COUNTS else _read_target(data)


def _clean(text: str) -> bytes:
    try:
        data = text.encode()
        msgspec.json.decode(data, type=msgspec.Raw)
    except (msgspec.DecodeError, UnicodeEncodeError):
        # JavaScript truncates strings between surrogates and Python writes NaN, which strict parsers refuse.
        return msgspec.json.encode(
            decode_json(text.encode("utf-8", "surrogatepass"), max_lenient_bytes=_MAX_LENIENT_BYTES)
        )
    return data


def _count(entry: _Count, environment: EnvironmentId, received: int, keys: UsageKeys) -> UsageCount | None:
    kind = _DEFAULT_TYPE if entry.metrics_type is None else entry.metrics_type
    count = _whole_number(entry.count)
    if not isinstance(kind, str) or count is None:
        return None
    key = keys.read(environment, kind, bytes(entry.attributes))
    return None if key is None else UsageCount(key, count, _whole_number(entry.timestamp) or received)


def _target(entry: _Target, environment: EnvironmentId) -> UsageTarget | None:
    attributes = _canonical(entry.attributes)
    if not isinstance(entry.identifier, str) or not entry.identifier:
        return None
    name = entry.name if isinstance(entry.name, str) and entry.name else entry.identifier
    return UsageTarget(environment, entry.identifier, name, attributes)


def _canonical(pairs: list[_Pair | None] | None) -> Attributes:
    # Some SDKs leave pairs without a key for private attributes: normal, so not counted as bad.
    if not pairs:
        return ()
    texts = [
        (pair.key, _compact(str(pair.value, "utf-8")))
        for pair in pairs
        if pair is not None and isinstance(pair.key, str)
    ]
    texts.sort()
    return tuple(texts)


def _compact(text: str) -> str:
    # Equal values need equal text, or equal counts would not merge.
    if text[0] in "{[":
        return msgspec.json.format(text, indent=-1)
    if "\\" in text:
        return msgspec.json.encode(msgspec.json.decode(text)).decode()
    return text


def _whole_number(value: object) -> int | None:
    """``value`` if it is a whole number from 1 to ``MAX_COUNT``, else ``None``."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if not 1 <= value <= MAX_COUNT or value != int(value):
        return None
    return int(value)


def _labels(counts: list[UsageCount]) -> SdkLabels:
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
