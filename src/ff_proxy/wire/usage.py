"""Usage on the wire: the body that SDKs post to ``/metrics/{env}``, and the one that SaaS is sent.

Reading follows ``sdk-contract.md`` §1.4: whatever part of a body can be used is used. An entry that
cannot is counted and left out, and only a body that is no JSON object is refused.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

from ff_proxy.errors import MalformedJson, RequestError
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.usage import MAX_COUNT, Attributes, UsageCount, UsageKey, UsageTarget
from ff_proxy.wire.values import decode_json

MAX_ENTRY_BYTES: Final = 64 * 1024
"""An entry whose JSON is longer counts as bad, so that one entry always fits into a body for SaaS."""

_USUAL_TYPE: Final = "FFMETRICS"
_REPAIRABLE_BYTES: Final = 1024 * 1024
_NULL: Final = msgspec.Raw(b"null")


class SdkLabels(msgspec.Struct, frozen=True):
    """Which SDK posted, in its own words; empty where it did not say."""

    type: str = ""
    version: str = ""
    language: str = ""


class UsageReport(msgspec.Struct, frozen=True):
    """What a posted body holds: usable entries in the order they came, and how many were ``bad``.

    ``sdk`` is what the first of ``counts`` says.
    """

    counts: tuple[UsageCount, ...]
    targets: tuple[UsageTarget, ...]
    sdk: SdkLabels
    bad: int


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


class _Body(msgspec.Struct, gc=False, rename="camel"):
    target_data: list[msgspec.Raw] | None = None
    metrics_data: list[msgspec.Raw] | None = None


_read_body: Final = msgspec.json.Decoder(_Body).decode
_read_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_read_list: Final = msgspec.json.Decoder(list[msgspec.Raw] | None).decode
_read_count: Final = msgspec.json.Decoder(_Count).decode
_read_target: Final = msgspec.json.Decoder(_Target).decode
_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class UsageBody:
    """A posted body whose outermost level is read; its ``entries`` are read by ``reports``.

    Args:
        body: as posted.
        environment: whose usage it is.
        received: epoch milliseconds; stands in for timestamps that are missing or unusable.

    Raises ``RequestError`` 400 if ``body`` is not a JSON object.
    """

    def __init__(self, body: bytes, environment: EnvironmentId, received: int) -> None:
        outer, self._bad = _outer(body)
        self._counts = outer.metrics_data or []
        self._targets = outer.target_data or []
        self._environment = environment
        self._received = received
        self.entries = len(self._counts) + len(self._targets)

    def reports(self, size: int) -> Iterator[UsageReport]:
        """The whole content in reports of at most ``size`` entries; at least one, empty if need be."""
        bad = self._bad
        for start in range(0, max(self.entries, 1), size):
            end = start + size
            passed = len(self._counts)
            counts = [_count(raw, self._environment, self._received) for raw in self._counts[start:end]]
            raw_targets = self._targets[max(start - passed, 0) : max(end - passed, 0)]
            targets = [_target(raw, self._environment) for raw in raw_targets]
            usable = tuple(count for count in counts if count is not None)
            named = tuple(target for target in targets if target is not None)
            bad += len(counts) + len(targets) - len(usable) - len(named)
            yield UsageReport(usable, named, _labels(usable), bad)
            bad = 0


def read_usage(body: bytes, environment: EnvironmentId, received: int) -> UsageReport:
    """A whole posted body at once; see ``UsageBody`` for what goes in and which error comes out."""
    return next(UsageBody(body, environment, received).reports(len(body) + 1))


def encode_count(count: UsageCount) -> bytes:
    """One element of ``metricsData``."""
    return msgspec.json.encode(
        {
            "timestamp": count.timestamp,
            "count": count.count,
            "metricsType": count.key.metrics_type,
            "attributes": _pairs(count.key.attributes),
        }
    )


def encode_target(target: UsageTarget) -> bytes:
    """One element of ``targetData``."""
    return msgspec.json.encode(
        {
            "identifier": target.identifier,
            "name": target.name,
            "attributes": _pairs(target.attributes),
        }
    )


def join_usage(counts: Iterable[bytes], targets: Iterable[bytes]) -> bytes:
    """Encoded elements as one body for SaaS."""
    return b'{"targetData":[%b],"metricsData":[%b]}' % (b",".join(targets), b",".join(counts))


def write_usage(counts: Iterable[UsageCount], targets: Iterable[UsageTarget]) -> bytes:
    """Records as one body for SaaS; attribute values leave as the JSON they came as."""
    return join_usage(map(encode_count, counts), map(encode_target, targets))


def _outer(body: bytes) -> tuple[_Body, int]:
    try:
        return _read_body(body), 0
    except msgspec.ValidationError:
        return _odd_outer(body)
    except _UNREADABLE as broken:
        repaired = _repaired(body)
        if repaired is None:
            raise RequestError(400, "the body is not readable JSON") from broken
        return _odd_outer(repaired)


def _odd_outer(body: bytes) -> tuple[_Body, int]:
    try:
        fields = _read_fields(body)
    except _UNREADABLE as odd:
        raise RequestError(400, "the body is not a JSON object") from odd
    outer, bad = _Body(), 0
    for wire_name, name in (("targetData", "target_data"), ("metricsData", "metrics_data")):
        try:
            setattr(outer, name, _read_list(fields.get(wire_name, _NULL)))
        except _UNREADABLE:
            bad += 1
    return outer, bad


def _repaired(body: bytes) -> bytes | None:
    # JavaScript cuts strings between surrogates and Python writes NaN: JSON that strict readers refuse.
    try:
        return msgspec.json.encode(decode_json(body, repairable=_REPAIRABLE_BYTES))
    except MalformedJson:
        return None


def _count(raw: msgspec.Raw, environment: EnvironmentId, received: int) -> UsageCount | None:
    if memoryview(raw).nbytes > MAX_ENTRY_BYTES:
        return None
    try:
        entry = _read_count(raw)
        attributes = _canonical(entry.attributes)
    except _UNREADABLE:
        return None
    kind = _USUAL_TYPE if entry.metrics_type is None else entry.metrics_type
    count = _whole(entry.count)
    if not attributes or not isinstance(kind, str) or count is None:
        return None
    return UsageCount(UsageKey(environment, kind, attributes), count, _whole(entry.timestamp) or received)


def _target(raw: msgspec.Raw, environment: EnvironmentId) -> UsageTarget | None:
    if memoryview(raw).nbytes > MAX_ENTRY_BYTES:
        return None
    try:
        entry = _read_target(raw)
        attributes = _canonical(entry.attributes)
    except _UNREADABLE:
        return None
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


def _labels(counts: tuple[UsageCount, ...]) -> SdkLabels:
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


def _pairs(attributes: Attributes) -> list[dict[str, object]]:
    return [{"key": key, "value": msgspec.Raw(text.encode())} for key, text in attributes]
