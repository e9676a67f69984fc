"""How fast a change reaches every open stream, beside the least that a C server can do, in the same run.

Both servers are measured in turn by one C client on the same cores. The serving half of ff-proxy is a
process of its own (``bench.stream_server``) that is told of changes as its upstream would tell it.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from bench.common.figures import Figure
from bench.common.http import expect
from bench.common.plan import Plan
from bench.common.processes import controlled, raise_file_limit
from bench.common.results import Column, Row, Table
from bench.common.streams import Clients, Programs, Round, Streamed, compiled
from bench.common.turns import in_turns
from bench.stream_server import ENVIRONMENT, KEY

_ABOUT = (
    "Milliseconds from the request for changes until the first, half, 99 % and all of the streams had every"
    " event; memory of the server's process for each stream; its CPU time in a round; events that never came."
)
_COLUMNS = (
    Column("opened s", 2),
    Column("kB/stream", 2),
    Column("first ms", 1),
    Column("half ms", 1),
    Column("p99 ms", 1),
    Column("all ms", 1, spread=True),
    Column("CPU ms", 1),
    Column("lost"),
)
_RATIO = "all told, ff-proxy / C"


def measure(plan: Plan) -> Iterator[Table]:
    """One table for each number of streams; raises ``BenchError`` if a server does not do its part."""
    # Each stream is a file of the server's, and the client opens as many.
    most = raise_file_limit() - 2000
    with compiled() as programs:
        for streams in plan.pick((1000, 8000, 10_000, min(most, 20_000)), (50,)):
            yield _table(f"One change to {streams:,} streams", programs, plan, streams, 1, 0)
        streams = plan.pick(4000, 50)
        yield _table(f"Ten changes at once to {streams:,} streams", programs, plan, streams, 10, 0)
        slow = streams // 10
        title = f"Ten changes at once to {streams:,} streams, {slow:,} more that are not read"
        yield _table(title, programs, plan, streams, 10, slow)


def _table(title: str, programs: Programs, plan: Plan, streams: int, events: int, slow: int) -> Table:
    repeats, rounds = plan.pick((2, 6), (1, 2))

    def once(name: str) -> Streamed:
        server = _ours() if name == "ff-proxy" else _peer(programs)
        with server as clients:
            few = Clients(clients.server, clients.control, clients.request, streams, events, slow)
            return few.run(programs, rounds)

    names = ("ff-proxy", "C epoll")
    runs = in_turns([partial(once, name) for name in names], repeats)
    ours, least = (_figures(given) for given in runs)
    ratio = Figure.of(
        _all(one) / _all(two)
        for mine, theirs in zip(*runs, strict=True)
        for one, two in zip(mine.rounds, theirs.rounds, strict=True)
    )
    empty: tuple[Figure | None, ...] = (None,) * len(_COLUMNS)
    place = [column.name for column in _COLUMNS].index("all ms")
    rows = [Row(name, figures) for name, figures in zip(names, (ours, least), strict=True)]
    rows.append(Row(_RATIO, (*empty[:place], ratio, *empty[place + 1 :])))
    return Table(title, _ABOUT, _COLUMNS, tuple(rows))


def _all(one: Round) -> float:
    return max(one.last, 0.01)


def _figures(runs: Sequence[Streamed]) -> tuple[Figure, ...]:
    rounds = [one for run in runs for one in run.rounds]
    return (
        Figure.of(run.opened for run in runs),
        Figure.of(run.kilobytes for run in runs),
        Figure.of(one.first for one in rounds),
        Figure.of(one.half for one in rounds),
        Figure.of(one.most for one in rounds),
        Figure.of(one.last for one in rounds),
        Figure.of(run.cpu * 1000 for run in runs),
        Figure.of([sum(one.lost for one in rounds)]),
    )


@contextmanager
def _ours() -> Iterator[Clients]:
    with controlled("ff-proxy", [sys.executable, "-m", "bench.stream_server"]) as (server, control):
        body = json.dumps({"apiKey": KEY}).encode()
        token = json.loads(expect(200, server.port, "POST", "/client/auth", body=body).body)["authToken"]
        request = (
            f"GET /stream?cluster=1 HTTP/1.1\r\nHost: bench\r\nAccept: text/event-stream\r\n"
            f"API-Key: {KEY}\r\nAuthorization: Bearer {token}\r\nHarness-EnvironmentID: {ENVIRONMENT}\r\n\r\n"
        )
        yield Clients(server, control, request.encode(), 0)


@contextmanager
def _peer(programs: Programs) -> Iterator[Clients]:
    """The C server; it asks for nothing."""
    with controlled("C epoll", [str(programs.server)]) as (server, control):
        yield Clients(server, control, b"GET /stream HTTP/1.1\r\nHost: bench\r\n\r\n", 0)
