"""Every role is built from its options: what it runs, and in which order it stops."""

import asyncio
import random
from collections.abc import Iterator, Sequence
from contextlib import AbstractAsyncContextManager, closing, nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from ff_proxy.api.tokens import AWAITED
from ff_proxy.app.build import build
from ff_proxy.app.harness import open_apis
from ff_proxy.app.options_reload import OptionsReload
from ff_proxy.app.process import Process, ProcessContext, memory_shares
from ff_proxy.app.roles import (
    ChildRole,
    Generate,
    RedisWorker,
    ReplicaWorker,
    ServingRole,
    Single,
    Sync,
    Worker,
    single_role,
)
from ff_proxy.app.shared_runtime import SharedRuntime
from ff_proxy.app.supervisor import child_roles, make_children
from ff_proxy.config.load import load
from ff_proxy.config.records import OfflineOptions, OnlineOptions, ReplicaOptions
from ff_proxy.errors import OfflineDataError, StartupError
from ff_proxy.http.sockets import bind
from ff_proxy.ipc import SharedGenerations
from ff_proxy.model.memory import LEAST_SHARES
from ff_proxy.runtime.clock import SystemClock
from ff_proxy.telemetry import null_telemetry
from tests.support.offline import bakery
from tests.support.saas import ENV, KEY, FakeSaas

ONLINE = (
    *("-account-identifier", "acc", "-org-identifier", "org"),
    *("-admin-service-token", "pat", "-api-keys", KEY.reveal(), "-port", "0"),
)
REDIS = ("-redis-address", "127.0.0.1:1")
SERVER = {"snapshots", "auth gate", "hub", "metrics samples", "event loop lag"}
FIRST = {"ready line", "environment metrics"}


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[SharedRuntime]:
    """What processes share."""
    with SharedGenerations() as generations:
        yield SharedRuntime(tmp_path / "runtime", generations, "member", 1)


def context(saas: FakeSaas | None = None) -> ProcessContext:
    """A process's context, with ``saas`` for the network."""
    scripted = saas or FakeSaas()
    return ProcessContext(
        clock=SystemClock(),
        random=random.Random(1),
        telemetry=null_telemetry(),
        shares=LEAST_SHARES,
        environ={},
        transport=lambda _, __: nullcontext(scripted),
    )


def alone(*argv: str) -> ServingRole:
    """The role of a single process that is started so."""
    role = single_role(load(list(argv), {}))
    assert not isinstance(role, Generate)
    return role


def children(runtime: SharedRuntime, *argv: str) -> list[ChildRole]:
    """The roles of the processes that a supervisor starts so."""
    options = load([*argv, "-workers", "2"], {}).options
    assert isinstance(options, OnlineOptions | OfflineOptions | ReplicaOptions)
    return child_roles(options, runtime, [bind(0, "127.0.0.1"), bind(0, "127.0.0.1")], None)


def built(role: ServingRole | Sync, saas: FakeSaas | None = None) -> AbstractAsyncContextManager[Process]:
    """The process, which closes its sockets in the end."""
    return build(role, context(saas))


def close(*roles: ChildRole) -> None:
    """Give back the sockets of roles that were not built."""
    for role in roles:
        for one in () if isinstance(role, Sync) else role.slot.listening:
            one.close()


def names(process: Process) -> set[str]:
    """What its services are called."""
    return {service.name for service in process.services}


def steps(process: Process) -> Sequence[str]:
    """What its shutdown does, in order."""
    return [phase.name for phase in process.phases]


def test_options_choose_the_role(runtime: SharedRuntime) -> None:
    """One process has all duties; of several, one follows Harness and the others serve."""
    assert isinstance(alone("-read-replica", *REDIS), Single)
    online = children(runtime, *ONLINE)
    assert [type(role) for role in online] == [Sync, Worker, Worker]
    on_redis = children(runtime, *ONLINE, *REDIS)
    assert [type(role) for role in on_redis] == [Sync, RedisWorker, RedisWorker]
    replicas = children(runtime, "-read-replica", *REDIS)
    assert [type(role) for role in replicas] == [ReplicaWorker, ReplicaWorker]
    close(*online, *on_redis, *replicas)


def test_workers_end_before_the_sync_process_and_share_out_connections(runtime: SharedRuntime) -> None:
    """The sync process takes what they hand over at the end; a limit is that of all of them together."""
    roles = children(runtime, *ONLINE, "-max-connections", "7")
    reload = OptionsReload(load(ONLINE, {}), null_telemetry().logger("config"))
    stages = {child.name: child.stage for child in make_children(roles, reload)}
    assert stages["sync"] > stages["worker-1"] == stages["worker-2"]
    limits = [role.options.serving.limits.max_connections for role in roles]
    assert limits == [7, 4, 4]
    close(*roles)


async def test_online_follows_harness_and_sends_what_sdks_post() -> None:
    """Streams end first, then requests; what SDKs posted is stored, then sent."""
    async with built(alone(*ONLINE)) as process:
        assert names(process) == {
            *(*SERVER, *FIRST, "health log", "upstream"),
            *("usage intake", "target intake", "usage forwarder", "registration forwarder"),
        }
        assert steps(process) == ["streams", "requests", "usage intake", "target intake", "usage"]
        assert [server.name for server in process.essential] == ["http server"]
        assert "not tried yet" in process.readiness().pending[0]


async def test_what_is_switched_off_is_not_built() -> None:
    """Neither its services nor their steps of a shutdown."""
    options = ("-metric-post-duration", "0", "-target-poll-duration", "0", "-heartbeat-interval", "0")
    async with built(alone(*ONLINE, *options, "-forward-targets=false")) as process:
        assert names(process) == {*SERVER, *FIRST, "upstream"}
        assert steps(process) == ["streams", "requests"]


async def test_what_is_built_serves_what_harness_has() -> None:
    """Its services load an environment from scripted answers; no process and no network is needed."""
    saas = FakeSaas()
    saas.environment(ENV, KEY)
    async with built(alone(*ONLINE), saas) as process:
        running = [asyncio.create_task(service.run()) for service in process.services]
        try:
            async with asyncio.timeout(10):
                ready_line = next(one for one in process.services if one.name == "ready line")
                await ready_line.ready.wait()
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
        assert process.readiness().loaded == 1


async def test_offline_has_loaded_the_directory_when_it_is_built(tmp_path: Path) -> None:
    """It keeps nothing that SDKs post, and sends nothing."""
    bakery(tmp_path)
    async with built(alone("-offline", "-port", "0", "-config-dir", str(tmp_path))) as process:
        assert names(process) == {*SERVER, *FIRST, "health log", "offline directory"}
        assert steps(process) == ["streams", "requests"]
        assert process.readiness().ready
        assert process.readiness().loaded == 1


async def test_a_directory_that_cannot_be_used_is_an_error_of_the_start(tmp_path: Path) -> None:
    """Nothing is left open."""
    with pytest.raises(OfflineDataError, match="absent"):
        async with built(alone("-offline", "-port", "0", "-config-dir", str(tmp_path / "absent"))):
            pass


async def test_a_port_that_is_taken_is_an_error_of_the_start(tmp_path: Path) -> None:
    """Of SDKs as well as of metrics; the store is closed again, so that the next start can open it."""
    with closing(bind(0, "127.0.0.1")[0]) as taken:
        port = str(taken.getsockname()[1])
        data = ("-data-dir", str(tmp_path))
        for options in (("-host", "127.0.0.1", "-port", port), ("-prometheus-port", port)):
            with pytest.raises(StartupError, match=port):
                async with built(alone(*ONLINE, *data, *options)):
                    pass
    async with built(alone(*ONLINE, *data)) as process:
        assert "SQLite writer" in names(process)


async def test_a_replica_takes_targets_for_those_who_follow_harness() -> None:
    """It asks nobody but Redis."""
    async with built(alone("-read-replica", "-port", "0", *REDIS)) as process:
        assert names(process) == {
            *(*SERVER, *FIRST, "health log", "flush recovery", "fleet health", "fleet presence"),
            *("usage intake", "target intake"),
        }
        assert steps(process) == ["fleet", "streams", "requests", "usage intake", "target intake"]
        assert process.readiness().pending == (AWAITED,)


async def test_a_member_of_a_fleet_hears_of_keys_and_lost_writes() -> None:
    """And leads what others do not."""
    async with built(alone(*ONLINE, *REDIS)) as process:
        assert names(process) >= {"upstream", "flush recovery", "fleet health", "fleet bus", "lost writes"}
        assert "fleet presence" in names(process)
        assert steps(process)[0] == "fleet"


async def test_a_sync_process_waits_for_its_workers_before_it_sends_the_rest(runtime: SharedRuntime) -> None:
    """It has no server for SDKs."""
    sync, *workers = children(runtime, *ONLINE)
    assert isinstance(sync, Sync)
    runtime.directory.mkdir()
    async with built(sync) as process:
        assert names(process) == {
            *("ipc server", "known environments", "upstream", "usage forwarder", "registration forwarder"),
            *("health log", "metrics samples", "event loop lag", "SQLite writer"),
        }
        assert steps(process) == ["workers", "usage"]
        assert process.essential == ()
    close(*workers)


async def test_an_offline_sync_process_reads_the_directory_for_its_workers(
    runtime: SharedRuntime, tmp_path: Path
) -> None:
    """What it read once stays in a file, so that a version does not go back when it is started again."""
    bakery(tmp_path / "config")
    sync, *workers = children(runtime, "-offline", "-config-dir", str(tmp_path / "config"))
    assert isinstance(sync, Sync)
    runtime.directory.mkdir()
    for _ in range(2):
        async with built(sync) as process:
            await process.start()
            assert process.readiness().loaded == 1
            assert steps(process) == ["workers"]
    close(*workers)


@pytest.mark.parametrize("store", [(), REDIS])
async def test_only_the_first_worker_reports_for_all(runtime: SharedRuntime, store: tuple[str, ...]) -> None:
    """That the proxy is ready, and the metrics of environments; health is the sync process's to report."""
    sync, *workers = children(runtime, *ONLINE, *store)
    extra = {"flush recovery"} if store else set()
    for role, first in zip(workers, (FIRST, set()), strict=True):
        assert isinstance(role, Worker | RedisWorker)
        async with built(role) as process:
            assert names(process) == {
                *(*SERVER, *first, *extra, "sync state", "usage intake", "target intake"),
            }
            assert process.readiness().pending
    assert isinstance(sync, Sync)


async def test_of_several_replicas_the_first_one_reports(runtime: SharedRuntime) -> None:
    """There is no sync process beside them."""
    for role, first in zip(children(runtime, "-read-replica", *REDIS), (True, False), strict=True):
        assert isinstance(role, ReplicaWorker)
        async with built(role) as process:
            assert (names(process) >= {"ready line", "health log", "fleet presence"}) is first
            assert ("fleet presence" in names(process)) is first


def test_memory_is_shared_out_among_processes() -> None:
    """Two workers and a sync process have what one process has alone; two replicas, half of it each."""
    single, several, replicas = (
        memory_shares(load([*given, "-memory-budget", "1GB"], {}).options).responses  # type: ignore[arg-type]
        for given in (ONLINE, [*ONLINE, "-workers=2"], ["-read-replica", *REDIS, "-workers=2"])
    )
    assert several == pytest.approx(single / 3, abs=2)
    assert replicas == pytest.approx(single / 2, abs=2)


ADDRESSES = ("admin-service", "client-service", "metric-service", "sdk-base-url")


@pytest.mark.parametrize("secure", [*ADDRESSES, "HTTPS_PROXY", ""])
async def test_certificates_are_loaded_if_somebody_is_asked_over_tls(secure: str) -> None:
    """Otherwise a start need not wait for them, and a file that cannot be used is nobody's concern."""
    urls = {name: f"{'https' if name == secure else 'http'}://harness.example" for name in ADDRESSES}
    argv = [*ONLINE, *(word for name, url in urls.items() for word in (f"-{name}", url))]
    options = load(argv, {}).options
    assert isinstance(options, OnlineOptions)
    environ = {"SSL_CERT_FILE": "/missing", "HTTPS_PROXY": "https://proxy.example"}
    used = {name: value for name, value in environ.items() if name in ("SSL_CERT_FILE", secure)}
    failing = pytest.raises(StartupError, match="SSL_CERT_FILE: /missing")
    with failing if secure else nullcontext():
        async with open_apis(options.upstream, replace(context(), environ=used)):
            pass
