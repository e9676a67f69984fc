"""How fast a change reaches every open stream, compared with a minimal C server in the same run.

All servers are measured in turn by one C client on the same cores. The serving half of ff-proxy is a process
of its own (``bench.stream_server``) that is told of changes as its upstream would tell it. Pushpin, where it
is installed, takes part where it comes to an end.
"""

import json
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial

from bench.common.figures import Figure
from bench.common.http import expect
from bench.common.plan import BenchError, Plan
from bench.common.processes import Server, controlled, raise_file_limit
from bench.common.pushpin import pushpin
from bench.common.results import Column, Row, Table
from bench.common.streams import Clients, Programs, Round, Streamed, compiled
from bench.common.turns import in_turns
from bench.stream_server import ENVIRONMENT, KEY

_ABOUT = (
    "Milliseconds from the request for changes until the first, half, 99 % and all of the streams had every"
    " event, of those that had; memory of the server for each stream; its CPU time in a round; events that"
    " never came, of all."
)
_COLUMNS = (
    Column("opened s", 2),
    Column("kB/stream", 2),
    Column("first ms", 1),
    Column("half ms", 1),
    Column("p99 ms", 1),
    Column("all ms", 1, spread=True),
    Column("CPU ms", 1),
    Column("lost %", 2),
)
_OURS, _LEAST, _PUSHPIN = "ff-proxy", "C epoll", "pushpin"
_RATIO = f"all told, {_OURS} / C"
_PLAIN = b"GET /stream HTTP/1.1\r\nHost: bench\r\n\r\n"

_Running = tuple[Server, int, bytes]
"""A server, its control port, and the request that opens a stream."""
_Server = Callable[[], AbstractContextManager[_Running]]


@dataclass(frozen=True, slots=True)
class _Scene:
    """How many streams, and what happens; ``pushpin`` says whether it is measured as well."""

    streams: int
    events: int = 1
    slow: int = 0
    pushpin: bool = False

    @property
    def title(self) -> str:
        changes = "One change" if self.events == 1 else "Ten changes at once"
        beside = f", {self.slow:,} more that are not read" if self.slow else ""
        return f"{changes} to {self.streams:,} streams{beside}"


def measure(plan: Plan) -> Iterator[Table]:
    """One table for each scene; raises ``BenchError`` if a server fails."""
    # Each stream is a file of the server's, and the client opens as many.
    most = raise_file_limit() - 2000
    full = (
        _Scene(1000, pushpin=True),
        _Scene(8000, pushpin=True),
        _Scene(10_000),
        _Scene(min(most, 18_000)),
        _Scene(4000, events=10, pushpin=True),
        _Scene(4000, events=10, slow=400),
    )
    quick = (_Scene(50, pushpin=True), _Scene(50, events=10, slow=5))
    with compiled() as programs:
        servers: dict[str, _Server] = {_OURS: _ours, _LEAST: partial(_least, programs)}
        for scene in plan.pick(full, quick):
            if plan.wants(scene.title):
                yield _table(scene, servers, programs, plan)


def _table(
    scene: _Scene,
    servers: Mapping[str, _Server],
    programs: Programs,
    plan: Plan,
) -> Table:
    repeats, rounds = plan.pick((2, 6), (1, 2))
    events = scene.streams * scene.events

    def once(server: _Server, rounds: int) -> Streamed:
        with server() as (process, control, request):
            clients = Clients(process, control, request, scene.streams, scene.events, scene.slow)
            if server is _pushpin:
                # It ends streams if many open at once.
                clients = replace(clients, window=16, patient=True)
            return clients.run(programs, rounds)

    runs = in_turns([partial(once, server, rounds) for server in servers.values()], repeats)
    rows = [Row(name, _figures(given, events)) for name, given in zip(servers, runs, strict=True)]
    rows.append(_ratio(*runs))
    if scene.pushpin and shutil.which(_PUSHPIN):
        # It takes seconds a round, so it has fewer, and they are not between the others'.
        rows.append(Row(_PUSHPIN, _peer_figures(lambda: [once(_pushpin, 2) for _ in range(repeats)], events)))
    return Table(scene.title, _ABOUT, _COLUMNS, tuple(rows))


def _peer_figures(runs: Callable[[], Sequence[Streamed]], expected: int) -> tuple[Figure | None, ...]:
    """No figures if the peer failed: that must not cost those of the others."""
    try:
        return _figures(runs(), expected)
    except BenchError as error:
        sys.stderr.write(f"{_PUSHPIN}: {error}\n")
        return (None,) * len(_COLUMNS)


def _ratio(ours: Sequence[Streamed], least: Sequence[Streamed]) -> Row:
    figure = Figure.of(
        _all(one) / _all(two)
        for mine, theirs in zip(ours, least, strict=True)
        for one, two in zip(mine.rounds, theirs.rounds, strict=True)
    )
    return Row(_RATIO, tuple(figure if column.name == "all ms" else None for column in _COLUMNS))


def _all(one: Round) -> float:
    return max(one.last, 0.01)


def _figures(runs: Sequence[Streamed], expected: int) -> tuple[Figure | None, ...]:
    rounds = [one for run in runs for one in run.rounds]
    # Where no stream had every event there is no time to tell.
    told = [one for one in rounds if one.last]
    times = ([one.first for one in told], [one.half for one in told], [one.most for one in told])
    return (
        Figure.of(run.opened for run in runs),
        Figure.of(run.kilobytes for run in runs),
        *(Figure.of(values) if values else None for values in (*times, [one.last for one in told])),
        Figure.of(run.cpu * 1000 for run in runs),
        Figure.of([100 * sum(one.lost for one in rounds) / (len(rounds) * expected)]),
    )


@contextmanager
def _ours() -> Iterator[_Running]:
    with controlled(_OURS, [sys.executable, "-m", "bench.stream_server"]) as (server, control):
        body = json.dumps({"apiKey": KEY}).encode()
        token = json.loads(expect(200, server.port, "POST", "/client/auth", body=body).body)["authToken"]
        request = (
            f"GET /stream?cluster=1 HTTP/1.1\r\nHost: bench\r\nAccept: text/event-stream\r\n"
            f"API-Key: {KEY}\r\nAuthorization: Bearer {token}\r\nHarness-EnvironmentID: {ENVIRONMENT}\r\n\r\n"
        )
        yield server, control, request.encode()


@contextmanager
def _least(programs: Programs) -> Iterator[_Running]:
    """The C server; it needs no token."""
    with controlled(_LEAST, [str(programs.server)]) as (server, control):
        yield server, control, _PLAIN


@contextmanager
def _pushpin() -> Iterator[_Running]:
    with pushpin() as (server, control):
        yield server, control, _PLAIN
