"""Which benchmarks there are, and running them one after the other."""

import importlib
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import cast

from bench.common.plan import Plan
from bench.common.results import Outcome, Table


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One benchmark; its module is ``bench.<name>`` and has ``measure(plan)``, which yields tables."""

    name: str
    about: str
    tools: tuple[str, ...] = ()

    @property
    def missing(self) -> tuple[str, ...]:
        """The tools that it needs and that this machine does not have."""
        return tuple(tool for tool in self.tools if shutil.which(tool) is None)

    def run(self, plan: Plan, show: Callable[[Table], object]) -> Outcome:
        """Measure, or say for want of what not; each table is shown as soon as it is there."""
        if self.missing:
            return Outcome(self.name, 0.0, missing=self.missing)
        module = importlib.import_module(f"bench.{self.name}")
        measure = cast("Callable[[Plan], Iterable[Table]]", module.measure)
        begun = time.monotonic()
        tables = []
        for table in measure(plan):
            show(table)
            tables.append(table)
        return Outcome(self.name, round(time.monotonic() - begun, 1), tuple(tables))


BENCHMARKS = {
    one.name: one
    for one in (
        Benchmark("evaluation", "A flag, and all flags, for a target, beside the Python SDK's evaluator."),
        Benchmark("reads", "What SDKs read, beside nginx serving the same bytes.", ("wrk", "nginx")),
        Benchmark("posts", "What SDKs send: authentication and usage.", ("wrk",)),
        Benchmark("usage", "CPU time of taking usage in."),
        Benchmark(
            "streams", "A change to every open stream, beside the least that a C server can do.", ("gcc",)
        ),
    )
}
