"""The figures to reach (spec/behaviour#goals), and the figures of a report that they are compared with."""

from collections.abc import Iterator
from dataclasses import dataclass

from bench.common.figures import Figure
from bench.common.results import Report


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure of a report and its bound, either ``least`` or ``most``."""

    what: str
    benchmark: str
    table: str
    row: str
    column: str
    least: float | None = None
    most: float | None = None

    def figure(self, report: Report) -> Figure | None:
        """What was measured, if it was."""
        try:
            return report.figure(self.benchmark, self.table, self.row, self.column)
        except KeyError:
            return None

    def reached(self, figure: Figure) -> bool:
        """Whether the median is on the right side of the bound."""
        if self.least is not None:
            return figure.median >= self.least
        return self.most is None or figure.median <= self.most


def _reads() -> Iterator[Goal]:
    for flags in (10, 100):
        table, times = f"Flags, {flags}", f"{flags} flags"
        yield Goal(f"{times}, polled: times nginx", "reads", table, "polled", "ratio to nginx", least=1)
        yield Goal(f"{times}, first time: times nginx", "reads", table, "first time", "ratio to nginx", 0.7)
        yield Goal(f"{times}, unchanged: times nginx", "reads", table, "unchanged", "ratio to nginx", least=1)
        yield Goal(f"{times}, polled: times the Go proxy", "reads", table, "polled", _GO, least=10)
    for row, bound in (("100 flags, new targets", 3), ("100 flags, 5 rules each, returning targets", 10)):
        yield Goal(f"evaluations, {row}: times the Go proxy", "reads", "Evaluations", row, _GO, least=bound)


def _ofrep() -> Iterator[Goal]:
    for contexts in ("new", "returning"):
        row = f"every flag, {contexts} contexts"
        for peer in ("flagd", "GO Feature Flag"):
            yield Goal(
                f"OFREP, 100 flags, {contexts} contexts: times {peer}",
                "ofrep",
                "OFREP",
                row,
                f"ratio to {peer}, CPU",
                5,
            )


_GO = "ratio to Go proxy"
_TEN_THOUSAND = "One change to 10,000 streams"

GOALS = (
    *_reads(),
    *_ofrep(),
    Goal(
        "all of 100 flags x 5 rules x 20 target groups evaluated: µs of CPU",
        "evaluation",
        "Evaluation, 100 flags, 5 rules each",
        "all flags, as JSON",
        "CPU µs",
        most=250,
    ),
    Goal("a change to 10,000 streams, last: ms", "streams", _TEN_THOUSAND, "ff-proxy", "all ms", most=250),
    Goal(
        "a change to 10,000 streams, last: times a C server",
        "streams",
        _TEN_THOUSAND,
        "all told, ff-proxy / C",
        "all ms",
        most=1.5,
    ),
    Goal(
        "ten changes at once to 4,000 streams: events lost, %",
        "streams",
        "Ten changes at once to 4,000 streams",
        "ff-proxy",
        "lost %",
        most=0,
    ),
    Goal("memory of a stream: kB", "streams", _TEN_THOUSAND, "ff-proxy", "kB/stream", most=4),
    Goal(
        "18,000 streams in one process: events lost, %",
        "streams",
        "One change to 18,000 streams",
        "ff-proxy",
        "lost %",
        most=0,
    ),
    Goal(
        "event at Harness to value in an SDK, 1,000 streams, p99: ms",
        "propagation",
        "From a flip at Harness to the new value",
        "1,000 streams",
        "Python SDK, p99 ms",
        most=50,
    ),
    Goal(
        "start to ready from disk, 100 environments x 200 flags: s",
        "startup",
        "Start from SQLite",
        "100 x 200 flags",
        "ready s",
        most=1,
    ),
    Goal(
        "memory, idle, one small environment: MB",
        "startup",
        "Start from SQLite",
        "1 x 10 flags",
        "memory MB",
        most=60,
    ),
    Goal(
        "usage lost on SIGTERM: posts",
        "losses",
        "Usage when the proxy ends",
        "SQLite, SIGTERM",
        "posts lost",
        most=0,
    ),
    Goal(
        "usage lost on kill -9: seconds' worth",
        "losses",
        "Usage when the proxy ends",
        "SQLite, SIGKILL",
        "seconds' worth",
        most=1,
    ),
)
