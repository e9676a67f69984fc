"""Usage on the wire: what a posted body holds, and the body that SaaS is sent."""

from collections.abc import Iterable

import msgspec

from ff_proxy.model.usage import Attributes, UsageCount, UsageTarget


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


def _pairs(attributes: Attributes) -> list[dict[str, object]]:
    return [{"key": key, "value": msgspec.Raw(text.encode())} for key, text in attributes]
