"""A worker on Redis: a replica that shares the port with others, beside a sync process or without one."""

import socket
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial

from ff_proxy.app.ingest import make_ingest
from ff_proxy.app.memory import memory_shares
from ff_proxy.app.process_setup import make_part_telemetry
from ff_proxy.app.redis import redis_store
from ff_proxy.app.replica import make_replica
from ff_proxy.app.run import head_start, heartbeat, metrics, serve_part
from ff_proxy.app.secrets import awaited_secret, derived_secrets
from ff_proxy.app.serving import Needs, compile_options
from ff_proxy.app.shared_runtime import SharedRuntime
from ff_proxy.app.worker import HEAD_START, WorkerSlot, serve_beside_sync
from ff_proxy.config.records import OnlineOptions, RedisStoreOptions, ReplicaOptions
from ff_proxy.errors import ExitCode
from ff_proxy.ipc import IpcStore, SyncState
from ff_proxy.runtime.clock import SystemClock
from ff_proxy.runtime.control_pipe import stop_on_control
from ff_proxy.runtime.event_loop import run_until_told
from ff_proxy.runtime.services import Service
from ff_proxy.runtime.signals import Stop
from ff_proxy.snapshots.freshness import RevisionFreshness
from ff_proxy.snapshots.registry import SnapshotRegistry
from ff_proxy.store.redis import ConfigsBesideSync


def run(options: OnlineOptions, common: SharedRuntime, place: WorkerSlot, pipe: int) -> ExitCode:
    """Be a worker beside a sync process until told through ``pipe``."""
    return run_until_told(
        partial(_beside_sync, options, common, place), listen=partial(stop_on_control, pipe)
    )


def run_replica(
    options: ReplicaOptions,
    common: SharedRuntime,
    place: WorkerSlot,
    shown: socket.socket | None,
    pipe: int,
) -> ExitCode:
    """Be one of several replicas until told; the first one serves figures on ``shown``, if anybody does."""
    code = run_until_told(
        partial(_replica, options, common, place, shown), listen=partial(stop_on_control, pipe)
    )
    common.remove_if_orphaned()
    return code


async def _beside_sync(
    options: OnlineOptions, common: SharedRuntime, place: WorkerSlot, stop: Stop
) -> ExitCode:
    assert isinstance(options.store, RedisStoreOptions)  # noqa: S101  (workers chose this module by the type)
    clock = SystemClock()
    shares = memory_shares(options.serving)
    telemetry = make_part_telemetry(options.operation, clock, common.metrics, place.name)
    serving_options = options.serving
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(redis_store(options.store, shares, clock, telemetry))
        link = await stack.enter_async_context(IpcStore(common.link, common.generations, clock, shares))
        configs = ConfigsBesideSync(store.configs, link.configs, lambda: state.standalone)
        snapshots = SnapshotRegistry(configs, compile_options(serving_options), clock, telemetry)
        state = SyncState(link, snapshots, clock)
        taking = make_ingest(options, store, clock, telemetry)
        needs = Needs(
            secret=awaited_secret(options, store.secrets, clock, telemetry),
            keyless=serving_options.tokens.secret is not None,
            targets=store.targets,
            statuses=store.configs,
            checker=link,
            registrar=taking.registrar,
            intake=taking.intake,
            freshness=RevisionFreshness(configs.revision, snapshots, clock, telemetry),
            readiness=lambda: store.recovery.merge_into(state.readiness()),
            environments=state.environments,
            others=store.secrets.others,
            bound=store.secrets.bound,
            derived=derived_secrets(options, snapshots, store.secrets.signed_with),
        )
        return await serve_beside_sync(
            serving_options,
            place,
            snapshots,
            state,
            needs,
            taking,
            [store.recovery],
            stop,
            clock,
            telemetry,
        )


async def _replica(
    options: ReplicaOptions,
    common: SharedRuntime,
    place: WorkerSlot,
    shown: socket.socket | None,
    stop: Stop,
) -> ExitCode:
    clock = SystemClock()
    shares = memory_shares(options.serving)
    telemetry = make_part_telemetry(options.operation, clock, common.metrics, place.name, replica=True)
    async with redis_store(options.store, shares, clock, telemetry) as store:
        replica = make_replica(options, store, clock, telemetry, listening=place.listening)
        await head_start(HEAD_START, replica.serving.auth_gate.open, replica.snapshots.resync)
        only_one: Sequence[Service] = ()
        if place.first:
            beating = heartbeat(options.operation, replica.serving.readiness, clock, telemetry)
            only_one = [*beating, *metrics(shown, clock, telemetry)]
        return await serve_part(
            options.serving.shutdown,
            replica.serving,
            [*replica.services, *only_one],
            flush=replica.flush,
            first=place.first,
            stop=stop,
            clock=clock,
            telemetry=telemetry,
        )
