"""Whatever clients ask for, it is a few series."""

from ff_proxy.api.request_metrics import RequestMetrics
from ff_proxy.http.routes import Match
from ff_proxy.model.clock import Clock
from ff_proxy.snapshots.registry import SnapshotRegistry
from ff_proxy.snapshots.snapshot import CompileOptions
from ff_proxy.store.memory.store import MemoryStore
from ff_proxy.telemetry import null_telemetry
from tests.support.clock import FakeClock
from tests.support.configs import ENVIRONMENT, config, flag, hold

_ROUTE = "/client/env/{env}/target/{target}/evaluations"


async def test_a_hundred_thousand_targets_are_one_series() -> None:
    """All unknown environments share one more."""
    clock: Clock = FakeClock()
    telemetry = null_telemetry()
    store = MemoryStore("life", clock)
    snapshots = SnapshotRegistry(store.configs, CompileOptions(), clock, telemetry)
    await hold(store, snapshots, config(flag("a")))
    metrics = RequestMetrics(telemetry, snapshots)
    for number in range(100_000):
        for named in (ENVIRONMENT.encode(), b"odd-%d" % number):
            match = Match(_ROUTE, {}, {"env": named, "target": b"target-%d" % number})
            metrics.tally("GET", match, 200).count += 1
    metrics.fold()
    shown = telemetry.exposition().decode().splitlines()
    counted = [line for line in shown if line.startswith("ff_proxy_http_requests_total")]
    assert sorted(line.rpartition(" ")[2] for line in counted) == ["100000.0"] * 2
    assert not [line for line in shown if "target-" in line or "odd-" in line]
