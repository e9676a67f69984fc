"""Sizes and age of what is served, as metrics."""

from ff_proxy.errors import StoreUnavailable
from ff_proxy.model.environment import EnvironmentConfig, EnvironmentInfo, StreamState, UpstreamStatus
from ff_proxy.model.keys import EnvironmentId, hash_key
from ff_proxy.snapshots.environment_metrics import EnvironmentMetrics
from ff_proxy.snapshots.registry import SnapshotRegistry
from ff_proxy.snapshots.snapshot import CompileOptions
from ff_proxy.store.memory import MemoryConfigs
from ff_proxy.telemetry import Telemetry
from ff_proxy.telemetry.logs import make_logger
from tests.support.clock import FakeClock

E1, E2 = EnvironmentId("e1"), EnvironmentId("e2")


class Away(MemoryConfigs):
    """A store that may not answer."""

    away = False

    async def statuses(self) -> dict[EnvironmentId, UpstreamStatus]:
        if self.away:
            raise StoreUnavailable("away")
        return dict(await super().statuses())


async def test_sizes_and_ages() -> None:
    """With environments before the start, new ones, removed ones, and a store that is down."""
    clock = FakeClock()
    telemetry = Telemetry(make_logger("ERROR"), clock)
    configs = Away("test", clock)
    await configs.replace(EnvironmentConfig(EnvironmentInfo(E1), {}, {}, frozenset({hash_key("a")})))
    snapshots = SnapshotRegistry(configs, CompileOptions(), clock, telemetry)
    await snapshots.resync()
    metrics = EnvironmentMetrics(snapshots, configs, clock, telemetry)
    await metrics.poll()
    assert [metrics.data_age] == [None]

    def figure(name: str, environment: str) -> float:
        wanted = f'ff_proxy_environment_{name}{{envID="{environment}"}} '
        (line,) = [line for line in telemetry.exposition().decode().splitlines() if line.startswith(wanted)]
        return float(line.removeprefix(wanted))

    assert figure("keys", "e1") == 1
    await configs.replace(EnvironmentConfig(EnvironmentInfo(E2), {}, {}, frozenset(map(hash_key, "bc"))))
    await snapshots.resync()
    assert figure("keys", "e2") == 2
    assert figure("revision", "e2") >= 1
    now = int(clock.wall() * 1000)
    await configs.set_status(E1, UpstreamStatus(StreamState.CONNECTED, now, confirmed=now))
    await configs.set_status(E2, UpstreamStatus(StreamState.DISCONNECTED, now, confirmed=now - 60_000))
    await metrics.poll()
    assert (figure("data_age_seconds", "e1"), figure("data_age_seconds", "e2")) == (0, 60)
    assert metrics.data_age == 60
    configs.away = True
    await metrics.poll()
    assert metrics.data_age is not None
    assert metrics.data_age > 60
    configs.away = False
    await configs.remove(E2)
    await snapshots.resync()
    await metrics.poll()
    assert metrics.data_age == 0
    assert '"e2"' not in telemetry.exposition().decode()
