"""Usage on the wire: what SDKs post, and the body that is sent to Harness."""

from collections.abc import Iterable
from contextlib import suppress
from typing import Final

import msgspec

from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.usage import Attributes, UsageCount, UsageEntries, UsageKey, UsageTarget

_METRICS_TYPE: Final = "FFMETRICS"
_GLOBAL_TARGET: Final = "__global__cf_target"
"""What server SDKs send instead of a target's identifier."""


class SdkLabels(msgspec.Struct, frozen=True):
    """The SDK that posted, as it names itself; unknown fields are empty."""

    type: str = ""
    version: str = ""
    language: str = ""


class UsageReport(UsageEntries, frozen=True):
    """The usable entries of a posted body, in order, and how many were ``bad``.

    ``sdk`` comes from the first of ``counts``.
    """

    sdk: SdkLabels
    bad: int


def evaluation_key(environment: EnvironmentId, flag: str, variation: str, language: str) -> UsageKey:
    """The key under which an evaluation made here is counted, with the attributes that SDKs send."""
    attributes = {
        "SDK_LANGUAGE": language,
        "SDK_TYPE": "server",
        "SDK_VERSION": "ofrep",
        "featureIdentifier": flag,
        "featureName": flag,
        "target": _GLOBAL_TARGET,
        "variationIdentifier": variation,
    }
    encoded = {name: msgspec.json.encode(text).decode() for name, text in attributes.items()}
    return UsageKey(environment, _METRICS_TYPE, tuple(sorted(encoded.items())))


def evaluated(key: UsageKey) -> tuple[str, str]:
    """The flag and the variation that were evaluated; empty if unknown. Some SDKs name only the flag."""
    said = dict(key.attributes)
    flag = _text(said.get("featureIdentifier", "")) or _text(said.get("featureName", ""))
    return flag, _text(said.get("variationIdentifier", ""))


def write_usage(counts: Iterable[UsageCount], targets: Iterable[UsageTarget]) -> bytes:
    """Encode records as one body for Harness; attribute values keep the JSON they arrived with."""
    return msgspec.json.encode(
        {
            "targetData": [
                {
                    "identifier": target.identifier,
                    "name": target.name,
                    "attributes": _pairs(target.attributes),
                }
                for target in targets
            ],
            "metricsData": [
                {
                    "timestamp": count.timestamp,
                    "count": count.count,
                    "metricsType": count.key.metrics_type,
                    "attributes": _pairs(count.key.attributes),
                }
                for count in counts
            ],
        }
    )


def _text(written: str) -> str:
    """The text of an attribute's JSON; null is empty, and other JSON stays as it is."""
    with suppress(msgspec.MsgspecError, UnicodeError):  # half a surrogate pair
        if written[:1] == '"':
            text: str = _decode_text(written)
            return text
    return "" if written == "null" else written


_decode_text: Final = msgspec.json.Decoder(str).decode


def _pairs(attributes: Attributes) -> list[dict[str, object]]:
    return [{"key": key, "value": msgspec.Raw(text.encode())} for key, text in attributes]
