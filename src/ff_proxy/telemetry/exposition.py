"""The Prometheus text, with the Go proxy's metric names.

The library appends ``_total`` to counters and adds creation times; the Go proxy does neither, and dashboards
and alerts use its names.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from prometheus_client import Metric
from prometheus_client.utils import floatToGoString

CONTENT_TYPE: Final = b"text/plain; version=0.0.4; charset=utf-8"
"""Its media type."""

GO_COUNTERS: Final = frozenset(
    {
        "ff_proxy_sdk_usage",
        "ff_proxy_metrics_forwarded",
        "ff_proxy_sse_publish",
        "ff_proxy_sse_stream_close",
        "ff_proxy_to_client_service_requests",
        "ff_proxy_saas_to_primary_sse_consumer_messages_received",
        "ff_proxy_saas_to_primary_sse_consumer_subscription_requests",
        "ff_proxy_primary_to_sdk_sse_producer_messages_published",
        "ff_proxy_replica_to_sdk_sse_producer_messages_published",
    }
)
"""Counters that the Go proxy, in either version, has without ``_total``."""

_PUBLISHED: Final = "ff_proxy_sse_publish"
_CREATED: Final = "_created"
_TOTAL: Final = "_total"
_ESCAPES: Final = {"\\": r"\\", "\n": r"\n", '"': r"\""}


def exposition(families: Iterable[Metric], *, replica: bool = False) -> bytes:
    """Render ``families``; a ``replica`` uses other names for what it sends to SDKs."""
    lines: list[str] = []
    for family in families:
        lines += _family(family)
        if family.name == _PUBLISHED:
            lines += _family(_as_version_2(family, replica=replica))
    return "".join(f"{line}\n" for line in lines).encode()


def _as_version_2(published: Metric, *, replica: bool) -> Metric:
    """Version 2's family for the events written to SDKs: the environment is the topic."""
    who = "replica" if replica else "primary"
    name = f"ff_proxy_{who}_to_sdk_sse_producer_messages_published"
    made = Metric(name, published.documentation, "counter")
    for sample in published.samples:
        if sample.name.endswith("_total"):
            labels = {"topic": sample.labels["environment"], "error": "false"}
            made.add_sample(f"{name}_total", labels, sample.value)
    return made


def _family(family: Metric) -> Iterator[str]:
    kind = {"info": "gauge", "unknown": "untyped"}.get(family.type, family.type)
    name = family.name
    if kind == "counter" and name not in GO_COUNTERS:
        name += _TOTAL
    yield f"# HELP {name} {_escaped(family.documentation, quotes=False)}"
    yield f"# TYPE {name} {kind}"
    for sample in family.samples:
        if sample.name.endswith(_CREATED):
            continue
        shown = sample.name
        if kind == "counter":
            shown = name
        yield f"{shown}{_labels(sample.labels)} {_number(sample.value)}"


def _number(value: float) -> str:
    return str(floatToGoString(value))  # type: ignore[no-untyped-call]  # the library leaves it untyped


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(_pairs(labels.items())) + "}"


def _pairs(labels: Iterable[tuple[str, str]]) -> Iterator[str]:
    for name, value in sorted(labels):
        yield f'{name}="{_escaped(value)}"'


def _escaped(text: str, *, quotes: bool = True) -> str:
    # Labels may contain client input: a lone surrogate could not be encoded.
    text = text.encode("utf-8", "replace").decode()
    return "".join(_ESCAPES.get(one, one) if quotes or one != '"' else one for one in text)
