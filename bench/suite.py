"""The list of benchmarks, and running one."""

import importlib
import shutil
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import cast

from bench.common.plan import BenchError, Plan
from bench.common.processes import within
from bench.common.results import Outcome, Table

# Far more than any of them takes: one that hangs must not keep the others from being measured.
_WITHIN = 1200.0


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
        """Measure, or say why not; each table is shown as soon as it is complete."""
        if self.missing:
            return Outcome(self.name, 0.0, missing=self.missing)
        module = importlib.import_module(f"bench.{self.name}")
        measure = cast("Callable[[Plan], Iterable[Table]]", module.measure)
        begun = time.monotonic()
        tables = []
        failed = ""
        try:
            with within(_WITHIN, self.name):
                for table in measure(plan):
                    show(table)
                    tables.append(table)
        except BenchError as error:
            failed = str(error)
        except Exception as error:  # noqa: BLE001  # what is wrong with one must not lose the others' figures
            traceback.print_exc()
            failed = repr(error)
        return Outcome(self.name, round(time.monotonic() - begun, 1), tuple(tables), failed=failed)


BENCHMARKS = {
    one.name: one
    for one in (
        Benchmark("evaluation", "A flag, and all flags, for a target, beside the Python SDK's evaluator."),
        Benchmark("reads", "What SDKs read, beside nginx serving the same bytes.", ("wrk", "nginx")),
        Benchmark("access_log", "What the log of requests costs.", ("wrk",)),
        Benchmark("posts", "What SDKs send: authentication and usage.", ("wrk",)),
        Benchmark(
            "ofrep", "What OpenFeature clients ask for, beside other servers of their protocol.", ("wrk",)
        ),
        Benchmark("usage", "CPU time of taking usage in."),
        Benchmark("forwarding", "Usage of 100,000 client SDKs, sent to a Harness that is far away."),
        Benchmark(
            "streams", "A change to every open stream, beside the least that a C server can do.", ("gcc",)
        ),
        Benchmark("propagation", "From a flip at Harness to the new value in an SDK.", ("gcc",)),
        Benchmark("changes", "What one change costs as the environment grows.", ("gcc",)),
        Benchmark("startup", "From the command to ready, from SQLite and from Redis, and memory then."),
        Benchmark("losses", "Usage that is lost when the proxy ends or is killed."),
        Benchmark("targets", "A million targets, in SQLite and in Redis."),
        Benchmark(
            "connections",
            "What connections, streams and TLS cost, and the bytes they carry.",
            ("wrk", "openssl"),
        ),
        Benchmark("storms", "A storm of reconnects and a change, beside the work that they are.", ("gcc",)),
        Benchmark(
            "fleet", "What members ask of Redis, and how soon one replaces another.", ("redis-server", "wrk")
        ),
    )
}
