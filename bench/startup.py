"""From the command to ready, and what an idle proxy holds in memory then.

A store is filled with environments; the proxy is started on it with no Harness to be reached, so that only
the store counts.
"""

import asyncio
import time
from collections.abc import Iterator

from bench.common.environments import Made
from bench.common.figures import Figure
from bench.common.plan import Plan
from bench.common.results import Column, Row, Table
from bench.common.site import nowhere, proxy
from bench.common.stores import Kept, Opened, kept_stores, store
from ff_proxy.model.environment import EnvironmentConfig, EnvironmentInfo
from ff_proxy.model.keys import EnvironmentId, hash_key

_SIZES = ((1, 10), (1, 100), (100, 200), (1000, 30))
_SETTLED_AFTER = 1.0
_ABOUT = (
    "Seconds from the command until the proxy says that it is ready, with no Harness in reach; memory of its"
    " process a second later, and of the file or of Redis. Each environment has 20 target groups."
)
_COLUMNS = (Column("ready s", 2, spread=True), Column("memory MB", 1), Column("kept in MB", 1))


def measure(plan: Plan) -> Iterator[Table]:
    """One table for each kind of store; raises ``BenchError`` if the proxy does not start."""
    for name, opened in kept_stores().items():
        sizes = plan.pick(_SIZES, ((2, 10),))
        rows = tuple(_row(opened, environments, flags, plan.pick(5, 1)) for environments, flags in sizes)
        yield Table(f"Start from {name}", _ABOUT, _COLUMNS, rows)


def _row(opened: Opened, environments: int, flags: int, repeats: int) -> Row:
    with opened() as kept:
        figures = _figures(kept, environments, flags, repeats)
    return Row(f"{environments:,} x {flags} flags", figures)


def _figures(kept: Kept, environments: int, flags: int, repeats: int) -> tuple[Figure, ...]:
    keys = asyncio.run(_filled(kept, environments, Made("startup", flags).config()))
    taken, memory = [], []
    for _ in range(repeats):
        begun = time.perf_counter()
        with proxy({**nowhere(keys), **kept.options}) as server:
            taken.append(time.perf_counter() - begun)
            time.sleep(_SETTLED_AFTER)
            memory.append(server.resident() / 1e3)
    return Figure.of(taken), Figure.of(memory), Figure.of([kept.megabytes()])


async def _filled(kept: Kept, environments: int, config: EnvironmentConfig) -> list[str]:
    """Store that many environments with different names and keys; returns the keys."""
    keys = [f"key-{number}" for number in range(environments)]
    async with store(kept.kind, kept.place) as held:
        for number, key in enumerate(keys):
            info = EnvironmentInfo(EnvironmentId(f"00000000-0000-4000-8000-{number:012}"))
            await held.configs.replace(
                EnvironmentConfig(info, config.flags, config.segments, frozenset({hash_key(key)}))
            )
    return keys
