"""The proxy and its peers under the same load, in turns."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus

from bench.common.environments import Made
from bench.common.figures import Figure
from bench.common.http import Answer, expect
from bench.common.peers import RunningPeer
from bench.common.processes import Server
from bench.common.results import Column, Row, Table
from bench.common.site import Site
from bench.common.turns import in_turns
from bench.common.wrk import Load, Request, load


@dataclass(frozen=True, slots=True)
class Scenario:
    """One kind of request; ``kind`` is its name in the descriptions of peers.

    ``unchanged`` says that the client has the present content already, and gets 304. ``peers`` is false
    where what peers offer is something else.
    """

    label: str
    kind: str
    made: Made
    request: Request
    unchanged: bool = False
    peers: bool = True


@dataclass(frozen=True, slots=True)
class Contest:
    """The servers, and how often each is loaded; ``quick`` as of ``load``."""

    site: Site
    peers: Sequence[RunningPeer]
    rounds: int
    quick: bool

    def table(self, title: str, about: str, scenarios: Sequence[Scenario]) -> Table:
        """Every scenario's figures."""
        columns = [Column("requests/s", spread=True), Column("per CPU second")]
        for peer in self.peers:
            name = peer.peer.name
            columns += [Column(f"{name}/s"), Column(f"ratio to {name}", 2, spread=True)]
            columns += [Column(f"{name} per CPU second"), Column(f"ratio to {name}, CPU", 2, spread=True)]
        columns += [Column("p50 ms", 2), Column("p99 ms", 2), Column("memory MB", 1)]
        return Table(title, about, tuple(columns), tuple(self._row(one) for one in scenarios))

    def _row(self, scenario: Scenario) -> Row:
        ours = self.site.proxy
        own = expect(HTTPStatus.OK, *_first(ours, scenario.request))
        asked = _request(ours, scenario.request, own, scenario)
        runs: list[Callable[[], Load]] = [partial(load, ours, asked, quick=self.quick)]
        present: list[RunningPeer] = []
        for peer in self.peers if scenario.peers else ():
            run = self._run_of(peer, scenario, own)
            if run is not None:
                runs.append(run)
                present.append(peer)
        mine, *others = in_turns(runs, self.rounds)
        by_peer = {peer.peer.name: loads for peer, loads in zip(present, others, strict=True)}
        figures: list[Figure | None] = [
            Figure.of(run.rate for run in mine),
            Figure.of(run.per_cpu for run in mine),
        ]
        for peer in self.peers:
            figures += _beside(mine, by_peer.get(peer.peer.name))
        figures += [Figure.of(run.p50 for run in mine), Figure.of(run.p99 for run in mine)]
        figures.append(Figure.of([ours.resident() / 1e3]))
        return Row(scenario.label, tuple(figures))

    def _run_of(self, peer: RunningPeer, scenario: Scenario, own: Answer) -> Callable[[], Load] | None:
        """The run of a peer; ``None`` if it does not offer this."""
        asked = peer.request(scenario.kind, scenario.made, scenario.request)
        if asked is None:
            return None
        peer.record(asked.numbered(1), own.body)
        answer = expect(HTTPStatus.OK, *_first(peer.server, asked))
        if scenario.unchanged and "etag" not in answer.fields:
            return None
        return partial(load, peer.server, _request(peer.server, asked, answer, scenario), quick=self.quick)


def _beside(mine: list[Load], other: list[Load] | None) -> list[Figure | None]:
    if other is None:
        return [None] * 4
    pairs = list(zip(mine, other, strict=True))
    return [
        Figure.of(run.rate for run in other),
        Figure.of(one.rate / two.rate for one, two in pairs),
        Figure.of(run.per_cpu for run in other),
        Figure.of(one.per_cpu / two.per_cpu for one, two in pairs),
    ]


def _first(server: Server, request: Request) -> tuple[int, str, str, dict[str, str], bytes | None]:
    one = request.numbered(1)
    body = None if one.body is None else one.body.encode()
    return server.port, one.method, one.path, dict(one.headers), body


def _request(server: Server, request: Request, answer: Answer, scenario: Scenario) -> Request:
    if not scenario.unchanged:
        return request
    headers = {**request.headers, "If-None-Match": answer.fields["etag"]}
    asked = Request(request.path, headers, request.method, request.body, request.several)
    expect(HTTPStatus.NOT_MODIFIED, *_first(server, asked))
    return asked
