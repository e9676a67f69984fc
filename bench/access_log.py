"""What the access log costs: the same requests to proxies that log none, errors, and all of them."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial

from bench.common.environments import Made
from bench.common.figures import Figure
from bench.common.plan import Plan
from bench.common.processes import Server
from bench.common.results import Column, Row, Table
from bench.common.site import proxy, site
from bench.common.turns import in_turns
from bench.common.wrk import NUMBER, Load, Request, load

_MADE = Made("logged", 10)
_MODES = ("off", "errors", "all")
_MICROSECONDS = 1e6
_ABOUT = (
    "GET feature-configs, 10 flags, by access-log. Polled: the same bytes again, as SDKs send them; first"
    " time: a header line in each request that never came before. CPU is the proxy's; more, than with off."
)


def measure(plan: Plan) -> Iterator[Table]:
    """The table; raises ``BenchError`` if a server fails."""
    with ExitStack() as stack:
        own = stack.enter_context(site([_MADE], access_log=_MODES[0], log_level="INFO"))
        servers = [own.proxy]
        for mode in _MODES[1:]:
            options = {**own.saas.options, "access-log": mode, "log-level": "INFO"}
            servers.append(stack.enter_context(proxy(options)))
        path, bearer = f"/client/env/{_MADE.id}/feature-configs", own.bearer(_MADE)
        asked = {
            "polled": Request(path, bearer),
            "first time": Request(path, bearer | {"X-Trace": f"trace-{NUMBER}"}),
        }
        rows = [
            row
            for label, request in asked.items()
            if plan.wants(label)
            for row in _rows(label, servers, request, plan)
        ]
        yield Table("Log of requests", _ABOUT, _COLUMNS, tuple(rows))


_COLUMNS = (Column("requests/s", spread=True), Column("CPU µs", 2, spread=True), Column("more, µs", 2))


def _rows(label: str, servers: Sequence[Server], request: Request, plan: Plan) -> Iterator[Row]:
    runs = [partial(load, server, request, quick=plan.quick) for server in servers]
    found = in_turns(runs, plan.pick(9, 1), warm_up=True)
    for mode, loads in zip(_MODES, found, strict=True):
        more = [_cost(one) - _cost(other) for one, other in zip(loads, found[0], strict=True)]
        yield Row(
            f"{label}, {mode}",
            (
                Figure.of(one.rate for one in loads),
                Figure.of(_cost(one) for one in loads),
                None if mode == _MODES[0] else Figure.of(more),
            ),
        )


def _cost(one: Load) -> float:
    """Microseconds of CPU that a request took."""
    return _MICROSECONDS / one.per_cpu
