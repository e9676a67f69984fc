"""The Prometheus text, with the Go proxy's metric names.

The library appends ``_total`` to counters and adds creation times; the Go proxy does neither, and dashboards
and alerts use its names.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from prometheus_client import Metric
from prometheus_client.utils import floatToGoString

from ff_proxy.telemetry.go_names import GO_COUNTERS, PUBLISHED, published_as

CONTENT_TYPE: Final = b"text/plain; version=0.0.4; charset=utf-8"
"""What the text is sent as."""

_CREATED: Final = "_created"
_TOTAL: Final = "_total"
_ESCAPES: Final = {"\\": r"\\", "\n": r"\n", '"': r"\""}


def exposition(families: Iterable[Metric], *, replica: bool = False) -> bytes:
    """Render ``families``; a ``replica`` uses other names for what it sends to SDKs."""
    lines: list[str] = []
    for family in families:
        lines += _family(family)
        if family.name == PUBLISHED:
            lines += _family(published_as(family, replica=replica))
    return "".join(f"{line}\n" for line in lines).encode()


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
