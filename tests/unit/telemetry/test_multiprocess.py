"""Figures of several processes, shown by any of them."""

import os
import resource
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest, values

from ff_proxy.telemetry.metrics import Metrics, forget, without_forgotten
from ff_proxy.telemetry.multiprocess import mark_dead, share_metrics

# Where other tests have left threads behind, Python warns of what only they could suffer from.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

_SHOWN = ("ff_proxy_http_requests_total", "ff_proxy_sdk_streams", "ff_proxy_stream_health")


@pytest.fixture(autouse=True)
def _restored(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a process chooses once and for all must not stay chosen for other tests."""
    monkeypatch.setattr(values, "ValueClass", values.ValueClass)
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "")


def be(process: str, directory: Path, act: Callable[[Metrics], object]) -> None:
    """Let a process of that name count something, and end."""
    child = os.fork()
    if not child:
        share_metrics(directory, process)
        act(Metrics(CollectorRegistry()))
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


def shown(directory: Path) -> list[str]:
    """The samples, as a process shows them that has none of its own."""
    text = generate_latest(share_metrics(directory, "looker")).decode()
    return sorted(line for line in text.splitlines() if line.startswith(_SHOWN))


def one(metrics: Metrics) -> None:
    """What each process counts."""
    metrics.requests.labels("/a", "e", "200", "GET").inc(2)
    metrics.streams.labels("e").inc(3)
    metrics.upstream_connected.labels("e").set(1)


def test_metrics_add_up_over_processes_and_lives(tmp_path: Path) -> None:
    """A successor goes on where the dead one ended; its gauges are gone with it."""
    be("worker-1", tmp_path, one)
    be("worker-2", tmp_path, one)
    requests = 'ff_proxy_http_requests_total{code="200",envID="e",method="GET",url="/a"}'
    assert shown(tmp_path) == [
        f"{requests} 4.0",
        'ff_proxy_sdk_streams{envID="e"} 6.0',
        'ff_proxy_stream_health{envID="e"} 1.0',
    ]
    mark_dead(tmp_path, "worker-2")
    assert shown(tmp_path) == [
        f"{requests} 4.0",
        'ff_proxy_sdk_streams{envID="e"} 3.0',
        'ff_proxy_stream_health{envID="e"} 1.0',
    ]
    files = sorted(file.name for file in tmp_path.iterdir())
    be("worker-2", tmp_path, one)
    assert f"{requests} 6.0" in shown(tmp_path)
    assert 'ff_proxy_sdk_streams{envID="e"} 6.0' in shown(tmp_path)
    assert len(list(tmp_path.iterdir())) == len(files) + 3  # its three kinds of gauges


@pytest.mark.parametrize("latest_first", [True, False])
def test_what_one_process_forgets_hides_nothing_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, latest_first: bool
) -> None:
    """Whichever file is read first; what all have forgotten is not there."""

    def set_one(metrics: Metrics) -> None:
        metrics.flags.labels("e").set(5)
        forget(metrics.flags, "both")

    be("worker-1", tmp_path, lambda metrics: forget(metrics.flags, "both"))
    be("worker-2", tmp_path, set_one)
    be("worker-3", tmp_path, lambda metrics: forget(metrics.flags, "e"))
    be("worker-0", tmp_path, lambda metrics: forget(metrics.flags, "e"))
    found = Path.glob

    def sorted_glob(folder: Path, pattern: str) -> list[Path]:
        return sorted(found(folder, pattern), reverse=latest_first)

    monkeypatch.setattr(Path, "glob", sorted_glob)
    (flags,) = [
        without_forgotten(family)
        for family in share_metrics(tmp_path, "looker").collect()
        if family.name == "ff_proxy_environment_flags"
    ]
    assert [(sample.labels["envID"], sample.value) for sample in flags.samples] == [("e", 5.0)]


def test_a_file_that_is_just_being_made_is_passed_over(tmp_path: Path) -> None:
    """Nothing is in it yet, and what others counted is shown."""
    be("worker-1", tmp_path, one)
    before = shown(tmp_path)
    (tmp_path / "counter_worker-9.db").touch()
    assert shown(tmp_path) == before


@pytest.mark.parametrize("room", [0, 4096, 300_000])
def test_metrics_cost_nothing_when_the_disk_is_full(tmp_path: Path, room: int) -> None:
    """From the beginning, or when the files have to grow: what finds no room counts in its process alone."""

    def crowd(metrics: Metrics) -> None:
        one(metrics)
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
        for number in range(5000):
            metrics.requests.labels(f"/{number}", "e", "200", "GET").inc()
        for number in range(5000):
            metrics.requests.labels(f"/{number}", "e", "200", "GET").inc()
        assert metrics.requests.labels("/4999", "e", "200", "GET")._value.get() == 2
        one(metrics)

    def from_the_beginning(metrics: Metrics) -> None:
        one(metrics)
        one(metrics)

    be("worker-1", tmp_path, crowd)
    assert 'ff_proxy_http_requests_total{code="200",envID="e",method="GET",url="/a"} 4.0' in shown(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        be("worker-2", tmp_path, from_the_beginning)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert shown(tmp_path)
