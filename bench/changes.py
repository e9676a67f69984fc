"""What one change costs as the environment grows, from Harness through the proxy to one SDK.

Whatever has to be made again for one flag may cost the same everywhere; what the list of all flags costs may
grow as its bytes do, and no more.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import cycle

from bench.common.environments import Made
from bench.common.figures import Figure
from bench.common.http import expect
from bench.common.local_servers import control_port
from bench.common.plan import BenchError, Plan
from bench.common.results import Column, Row, Table
from bench.common.site import Site, site
from bench.common.stores import kept_stores
from bench.common.streams import Clients, Programs, Streamed, compiled

_ABOUT = (
    "A flag is flipped at Harness, again and again. Milliseconds until the event is at the one open stream,"
    " and the CPU time of the proxy for each change; then the same with a client that fetches all flags"
    " after each event."
)
_COLUMNS = (
    Column("all flags, kB", 1),
    Column("event ms", 1, spread=True),
    Column("CPU ms", 2),
    Column("event and fetch ms", 1, spread=True),
    Column("CPU ms, both", 2),
)


def measure(plan: Plan) -> Iterator[Table]:
    """One table for each kind of store; raises ``BenchError`` if a change does not arrive."""
    sizes = plan.pick((10, 100, 1000, 5000), (10,))
    with compiled() as programs:
        yield _table("memory", [_row(programs, plan, flags, {}) for flags in sizes])
        for name, opened in plan.pick(kept_stores(), {}).items():
            rows = []
            for flags in sizes:
                with opened() as kept:
                    rows.append(_row(programs, plan, flags, kept.options))
            yield _table(name, rows)


def _table(store: str, rows: list[Row]) -> Table:
    return Table(f"One change, data in {store}", _ABOUT, _COLUMNS, tuple(rows))


def _row(programs: Programs, plan: Plan, flags: int, options: Mapping[str, str]) -> Row:
    made = Made("changes", flags)
    path = f"/client/env/{made.id}/feature-configs?cluster=1"
    with site([made], options) as own, _flips(own, made) as control:
        fetch = own.raw(made, path, {})
        size = len(expect(200, own.proxy.port, "GET", path, own.bearer(made)).body) / 1e3

        def run(fetch: bytes) -> Streamed:
            clients = Clients(own.proxy, control, own.stream(made), 1, fetch=fetch)
            given = clients.run(programs, plan.pick(60, 3), gap=20)
            if any(one.lost > 0 for one in given.rounds):
                raise BenchError(f"changes never arrived: {[one.lost for one in given.rounds]}")
            return given

        alone, read = run(b""), run(fetch)
    figures = [Figure.of([size])]
    for given in (alone, read):
        figures += [Figure.of(one.last for one in given.rounds), Figure.of([given.cpu * 1000])]
    return Row(f"{flags:,} flags", tuple(figures))


@contextmanager
def _flips(own: Site, made: Made) -> Iterator[int]:
    flag = made.switch()
    served = cycle(("two", "one"))
    with control_port(lambda _: own.saas.flip(flag, made, next(served))) as port:
        yield port
