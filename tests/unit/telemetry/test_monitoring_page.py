"""The page about monitoring lists every metric, with its type and labels, and none that there is not."""

from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from ff_proxy.telemetry.exposition import GO_COUNTERS
from ff_proxy.telemetry.metrics import Metrics

_PAGE = Path(__file__).parents[3] / "docs" / "monitoring.md"
# Made from another one when they are given out.
_ALIAS = "ff_proxy_primary_to_sdk_sse_producer_messages_published"


def test_every_metric_is_on_the_page() -> None:
    """As Prometheus sees it."""
    assert _documented() == _declared()


def test_every_metric_is_explained() -> None:
    """In a sentence."""
    for row in _rows():
        assert row[3].endswith("."), row


def _rows() -> list[list[str]]:
    _, _, table = _PAGE.read_text(encoding="utf-8").partition("\n## Every metric\n")
    lines = table.splitlines()
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("| `")]


def _documented() -> dict[str, tuple[str, str]]:
    return {row[0].strip("`"): (row[1], row[2]) for row in _rows() if row[0].strip("`") != _ALIAS}


def _declared() -> dict[str, tuple[str, str]]:
    metrics = Metrics(CollectorRegistry())
    found = {}
    for metric in vars(metrics).values():
        assert isinstance(metric, Counter | Gauge | Histogram)
        (family, *_) = metric.describe()
        ending = "_total" if family.type == "counter" and family.name not in GO_COUNTERS else ""
        found[family.name + ending] = (family.type, ", ".join(metric._labelnames))
    return found
