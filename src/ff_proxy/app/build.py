"""Builds a process of any role.

Each role has its backend; the rest is the same for all. A backend's modules are imported only when a role
needs them, since some libraries take megabytes.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from typing import Final

from ff_proxy import __version__
from ff_proxy.api.ports import Dependencies
from ff_proxy.app.backend import Backend, ServedStore, Source
from ff_proxy.app.ingest import make_ingest
from ff_proxy.app.observability import make_reports, speaks_for_all
from ff_proxy.app.options_reload import SERVING_FLAGS, TLS_FLAGS, in_other_processes
from ff_proxy.app.otlp import make_otlp
from ff_proxy.app.process import Process, ProcessContext, Step, last_step_seconds, process_count
from ff_proxy.app.roles import (
    ChildRole,
    RedisWorker,
    ReplicaWorker,
    ServingRole,
    Single,
    Sync,
    Worker,
)
from ff_proxy.app.serving import Serving, compile_options, make_serving
from ff_proxy.app.shared_runtime import SharedRuntime
from ff_proxy.app.signing import make_signing, signing_secret
from ff_proxy.app.start_lines import MODES, ReadyLine, address_of
from ff_proxy.app.tls import tls_changes
from ff_proxy.config.records import OfflineOptions, OnlineOptions, ReplicaOptions
from ff_proxy.errors import StoreError
from ff_proxy.http.sockets import bind
from ff_proxy.ipc import IpcServer, State, WorkerServices
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.member import FleetMember, fingerprint
from ff_proxy.model.readiness import Readiness
from ff_proxy.runtime.services import Phase, Service
from ff_proxy.snapshots.registry import SnapshotRegistry
from ff_proxy.store.fleet_presence import FleetPresence
from ff_proxy.store.known_environments import KnownEnvironments
from ff_proxy.store.protocol import FleetMembers, StoreFacets

_FIRST_STEPS_SECONDS: Final = 5.0

Opener = Callable[[ProcessContext, AsyncExitStack], Awaitable[Backend[ServedStore]]]
SyncOpener = Callable[[ProcessContext, AsyncExitStack], Awaitable[Backend[StoreFacets]]]


@asynccontextmanager
async def build(role: ServingRole | Sync, context: ProcessContext) -> AsyncIterator[Process]:
    """Build a process of ``role``; its connections are open during the context. Raises ``FfProxyError``."""
    async with AsyncExitStack() as stack:
        if isinstance(role, Sync):
            yield await _build_sync(role, context, stack)
        else:
            yield await _build_server(role, context, stack)


def import_modules(role: ChildRole) -> None:
    """Import the modules of ``role`` before a fork, so that all children share them."""
    if isinstance(role, Sync):
        sync_opener(role)
    else:
        opener(role)


def opener(role: ServingRole) -> Opener:
    """How to open the backend of ``role``."""
    match role:
        case Single(options):
            return (
                _replica_opener(options) if isinstance(options, ReplicaOptions) else _source_opener(options)
            )
        case ReplicaWorker(options, runtime):
            # A restarted worker keeps its name in the fleet.
            return _replica_opener(options, runtime.member)
        case Worker():
            from ff_proxy.app.beside_sync import open_beside_sync  # noqa: PLC0415  (see above)

            return partial(open_beside_sync, role)
        case RedisWorker():
            from ff_proxy.app.redis import open_redis_beside_sync  # noqa: PLC0415  (see above)

            return partial(open_redis_beside_sync, role)


def sync_opener(role: Sync) -> SyncOpener:
    """How to open the backend of a sync process."""
    return _source_opener(role.options, role.runtime)


def _replica_opener(options: ReplicaOptions, name: str = "") -> Opener:
    from ff_proxy.app.redis import open_replica  # noqa: PLC0415  (see above)

    return partial(open_replica, options, name=name)


def _source_opener(
    options: OnlineOptions | OfflineOptions, runtime: SharedRuntime | None = None
) -> SyncOpener:
    if isinstance(options, OnlineOptions):
        from ff_proxy.app.harness import open_harness  # noqa: PLC0415  (see above)

        return partial(open_harness, options, runtime=runtime)
    from ff_proxy.app.directory import open_directory  # noqa: PLC0415  (see above)

    return partial(open_directory, options, runtime=runtime)


async def _build_server(role: ServingRole, context: ProcessContext, stack: AsyncExitStack) -> Process:
    backend = await opener(role)(context, stack)
    options, store, clock = role.options.serving, backend.store, context.clock
    snapshots = SnapshotRegistry(
        store.configs, compile_options(options), clock, context.telemetry, retry=backend.retry
    )
    if backend.loaded:
        await snapshots.resync()
    source = backend.follow(snapshots)

    def given_up(environment: EnvironmentId) -> bool:
        if isinstance(role.options, OfflineOptions):
            # What this process never saw may be on a volume that is not mounted.
            return snapshots.removed(environment)
        return source.settled() and environment not in source.environments()

    ingest = make_ingest(role.options, store, context)
    dependencies = Dependencies(
        snapshots=snapshots,
        targets=store.targets,
        statuses=store.configs,
        key_checker=source.key_checker,
        registrar=ingest.registrar,
        intake=ingest.intake,
        freshness=backend.freshness(snapshots),
        readiness=lambda: ingest.merge_into(snapshots.merge_into(source.readiness())),
        environments=source.environments,
        given_up=given_up,
        signing=make_signing(role.options, store.secrets, snapshots, context),
    )
    place = None if isinstance(role, Single) else role.slot
    listening = bind(options.port, options.host or "") if place is None else place.listening
    for one in listening:
        stack.callback(one.close)
    speaks = speaks_for_all(role)
    otlp = make_otlp(
        context, "main" if isinstance(role, Single) else role.name, serves=True, speaks_for_all=speaks
    )
    serving = make_serving(options, dependencies, context, listening, otlp.spans)
    reports = make_reports(role, serving.readiness, context, stack)
    presence = _make_presence(role, backend.members, serving.readiness, context)
    admin = _make_admin(role, snapshots, backend, source, serving.readiness, context)
    if context.reload is not None:
        for flags, change in serving.changes:
            context.reload.add(flags, change)
    for_all: Sequence[Service] = ()
    if place is None or place.first:
        ready_line = ReadyLine(serving.readiness, snapshots, clock, context.telemetry)
        for_all = (ready_line, serving.environment_metrics)
    return Process(
        services=[
            *(snapshots, *source.services, *ingest.services, *serving.services, *reports),
            *(*for_all, *presence, *admin, *otlp.services),
        ],
        essential=[serving.server],
        phases=[
            *(Phase("fleet", 0.0, one.leave) for one in presence),
            *(*serving.phases, *ingest.phases, *source.phases, *otlp.phases),
        ],
        reloads=serving.reloads,
        readiness=serving.readiness,
        start=partial(_start, serving, () if place is None else _first_steps(serving, snapshots, source)),
        deadline=options.shutdown.deadline,
    )


async def _build_sync(role: Sync, context: ProcessContext, stack: AsyncExitStack) -> Process:
    backend = await sync_opener(role)(context, stack)
    known = KnownEnvironments(backend.store.configs, context.clock)
    source = backend.follow(known)

    def readiness() -> Readiness:
        return context.telemetry.failures.merge_into(source.readiness())

    server = _make_ipc_server(role, backend, source, known, readiness, context)
    serving_options = role.options.serving
    reports = make_reports(role, readiness, context, stack)
    if context.reload is not None:
        context.reload.add(SERVING_FLAGS, in_other_processes)
        context.reload.add(TLS_FLAGS, tls_changes(serving_options))
    for_admin: Sequence[Service] = ()
    if context.admin is not None:
        # Reads what the workers serve, and compiles only what an admin request needs.
        snapshots = SnapshotRegistry(
            backend.store.configs, compile_options(serving_options), context.clock, context.telemetry
        )
        admin = _make_admin(role, snapshots, backend, source, readiness, context)
        for_admin = (snapshots, *admin)
    presence = _make_presence(role, backend.members, readiness, context)
    otlp = make_otlp(context, role.name, serves=False, speaks_for_all=True)
    shutdown = serving_options.shutdown
    # Wait until all workers have disconnected, and with that handed over their data.
    workers = Phase(
        "workers", shutdown.deadline - last_step_seconds(shutdown), lambda _: server.until_disconnected()
    )
    return Process(
        services=[server, known, *source.services, *reports, *presence, *for_admin, *otlp.services],
        phases=[
            *(Phase("fleet", 0.0, one.leave) for one in presence),
            *(workers, *source.phases, *otlp.phases),
        ],
        readiness=readiness,
        start=known.poll,
        deadline=shutdown.deadline,
    )


def _make_ipc_server(
    role: Sync,
    backend: Backend[StoreFacets],
    source: Source,
    known: KnownEnvironments,
    readiness: Callable[[], Readiness],
    context: ProcessContext,
) -> IpcServer:
    """The server that workers call: the store, and the state that only the sync process has."""
    store = backend.store

    async def state() -> State:
        await known.poll()
        return State(
            readiness(),
            frozenset(source.environments()),
            frozenset(source.expected()),
            frozenset(source.standalone()),
            source.settled(),
        )

    services = WorkerServices(
        configs=store.configs,
        targets=store.targets,
        usage=store.usage,
        registrations=store.registrations,
        check_key=source.key_checker.check,
        secret=partial(signing_secret, role.options.serving.tokens, store.secrets, context),
        state=state,
    )
    runtime = role.runtime
    return IpcServer(runtime.socket, services, runtime.generations, context.clock, context.telemetry.failures)


def _make_presence(
    role: ServingRole | Sync,
    members: FleetMembers | None,
    readiness: Callable[[], Readiness],
    context: ProcessContext,
) -> Sequence[FleetPresence]:
    """The service that registers this proxy in its fleet, in the one process that reports for all."""
    if members is None or not speaks_for_all(role):
        return ()
    options, clock = role.options, context.clock
    member = FleetMember(
        id=members.own,
        host=socket.gethostname(),
        address=address_of(options.serving),
        mode=MODES[type(options)],
        version=__version__,
        started=clock.wall(),
        processes=process_count(options),
        signs_with=fingerprint(options.serving.tokens.secret),
    )
    return [FleetPresence(members, member, readiness, clock, context.telemetry)]


def _make_admin(
    role: ServingRole | Sync,
    snapshots: SnapshotRegistry,
    backend: Backend[ServedStore],
    source: Source,
    readiness: Callable[[], Readiness],
    context: ProcessContext,
) -> Sequence[Service]:
    if context.admin is None or context.reload is None:
        return ()
    from ff_proxy.app.admin import make_admin  # noqa: PLC0415  (its libraries are for this process only)

    return make_admin(
        context.admin,
        context.reload,
        role.options,
        snapshots=snapshots,
        backend=backend,
        sent=source.sent,
        readiness=readiness,
        context=context,
    )


def _first_steps(serving: Serving, snapshots: SnapshotRegistry, source: Source) -> Sequence[Step]:
    return (serving.auth_gate.open, snapshots.resync, *source.first_steps)


async def _start(serving: Serving, steps: Sequence[Step]) -> None:
    """Run ``steps`` within a time limit, if the store allows, then serve.

    Connections wait meanwhile, so that a restarted worker does not serve less than the others.
    """
    with suppress(StoreError, TimeoutError):
        async with asyncio.timeout(_FIRST_STEPS_SECONDS):
            for step in steps:
                await step()
    await serving.server.start()
