"""A worker beside a sync process: serves SDKs from its store, which it reaches over the link."""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Final

from ff_proxy.app.ingest import Ingest, discard_ingest, make_ingest
from ff_proxy.app.memory import memory_shares
from ff_proxy.app.process_setup import make_part_telemetry
from ff_proxy.app.run import head_start, serve_part
from ff_proxy.app.secrets import awaited_secret, derived_secrets
from ff_proxy.app.serving import Needs, compile_options, make_serving
from ff_proxy.app.shared_runtime import SharedRuntime
from ff_proxy.config.records import OfflineOptions, OnlineOptions, ServingOptions
from ff_proxy.errors import ExitCode
from ff_proxy.http.sockets import Listening
from ff_proxy.ipc import IpcStore, SyncState
from ff_proxy.ipc.generation_freshness import GenerationFreshness
from ff_proxy.model.clock import Clock
from ff_proxy.runtime.clock import SystemClock
from ff_proxy.runtime.control_pipe import stop_on_control
from ff_proxy.runtime.event_loop import run_until_told
from ff_proxy.runtime.services import Service
from ff_proxy.runtime.signals import Stop
from ff_proxy.snapshots.registry import SnapshotRegistry
from ff_proxy.telemetry import Telemetry

HEAD_START: Final = 5.0
"""Seconds that a worker which is started may take to catch up with the others, with connections waiting."""

# How often a sync process that is away is looked for: it is back in a moment.
_RECONNECT: Final = 0.1


@dataclass(frozen=True, slots=True)
class WorkerSlot:
    """Which worker this is, and where it listens; the ``first`` one speaks for all where there is no sync."""

    name: str
    listening: Listening
    first: bool


def run(
    options: OnlineOptions | OfflineOptions, common: SharedRuntime, place: WorkerSlot, pipe: int
) -> ExitCode:
    """Be the worker until told through ``pipe``."""
    return run_until_told(partial(_worker, options, common, place), listen=partial(stop_on_control, pipe))


async def _worker(
    options: OnlineOptions | OfflineOptions, common: SharedRuntime, place: WorkerSlot, stop: Stop
) -> ExitCode:
    clock = SystemClock()
    shares = memory_shares(options.serving)
    telemetry = make_part_telemetry(options.operation, clock, common.metrics, place.name)
    serving_options = options.serving
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(IpcStore(common.link, common.generations, clock, shares))
        snapshots = SnapshotRegistry(
            store.configs, compile_options(serving_options), clock, telemetry, retry=_RECONNECT
        )
        state = SyncState(store, snapshots, clock)
        taking = discard_ingest(telemetry)
        if isinstance(options, OnlineOptions):
            taking = make_ingest(options, store, clock, telemetry)
        needs = Needs(
            secret=awaited_secret(options, store.secrets, clock, telemetry),
            keyless=serving_options.tokens.secret is not None,
            targets=store.targets,
            statuses=store.configs,
            checker=store,
            registrar=taking.registrar,
            intake=taking.intake,
            freshness=GenerationFreshness(common.generations, snapshots),
            readiness=state.readiness,
            environments=state.environments,
            derived=derived_secrets(options, snapshots),
        )
        return await serve_beside_sync(
            serving_options, place, snapshots, state, needs, taking, (), stop, clock, telemetry
        )


async def serve_beside_sync(
    options: ServingOptions,
    place: WorkerSlot,
    snapshots: SnapshotRegistry,
    state: SyncState,
    needs: Needs,
    taking: Ingest,
    services: Sequence[Service],
    stop: Stop,
    clock: Clock,
    telemetry: Telemetry,
) -> ExitCode:
    """Serve there until told; ``services`` are run besides."""
    serving = make_serving(options, snapshots, needs, clock, telemetry, listening=place.listening)
    await head_start(HEAD_START, serving.auth_gate.open, snapshots.resync, state.poll)
    return await serve_part(
        options.shutdown,
        serving,
        [snapshots, state, *services, *taking.services],
        flush=taking.flush,
        first=place.first,
        stop=stop,
        clock=clock,
        telemetry=telemetry,
    )
