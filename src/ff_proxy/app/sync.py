"""The sync process: everything of a mode but serving; workers reach its store over the link."""

import random
import socket
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial

from ff_proxy.app.backings import open_backing
from ff_proxy.app.ingest import forward
from ff_proxy.app.memory import memory_shares
from ff_proxy.app.process_setup import make_part_telemetry
from ff_proxy.app.run import heartbeat, last_seconds, metrics, self_watch
from ff_proxy.app.secrets import signing_secret
from ff_proxy.app.shared_runtime import SharedRuntime
from ff_proxy.app.stores import open_store, recovery_of
from ff_proxy.app.upstream import make_saas, open_apis
from ff_proxy.config.records import (
    OfflineOptions,
    OnlineOptions,
    ShutdownOptions,
    SqliteStoreOptions,
)
from ff_proxy.errors import ExitCode
from ff_proxy.ipc import CountedTargets, IpcServer, State, WorkerServices
from ff_proxy.model.clock import Clock
from ff_proxy.model.keys import SdkKey
from ff_proxy.model.readiness import Readiness
from ff_proxy.model.verdict import KeyVerdict
from ff_proxy.offline.watcher import OfflineWatcher
from ff_proxy.runtime.clock import SystemClock
from ff_proxy.runtime.control_pipe import stop_on_control
from ff_proxy.runtime.event_loop import run_until_told
from ff_proxy.runtime.services import Phase, Service, run_services
from ff_proxy.runtime.signals import Stop
from ff_proxy.store.known_environments import KnownEnvironments
from ff_proxy.telemetry import Telemetry


def run(
    options: OnlineOptions | OfflineOptions, common: SharedRuntime, shown: socket.socket | None, pipe: int
) -> ExitCode:
    """Be the sync process until told through ``pipe``; ``shown`` is where figures are served, if anywhere."""
    main = (
        partial(_online, options, common, shown)
        if isinstance(options, OnlineOptions)
        else partial(_offline, options, common, shown)
    )
    code = run_until_told(main, listen=partial(stop_on_control, pipe))
    common.remove_if_orphaned()
    return code


async def _online(
    options: OnlineOptions, common: SharedRuntime, shown: socket.socket | None, stop: Stop
) -> ExitCode:
    clock = SystemClock()
    shares = memory_shares(options.serving)
    telemetry = make_part_telemetry(options.operation, clock, common.metrics, "sync")
    async with AsyncExitStack() as stack:
        backing = await stack.enter_async_context(
            open_backing(options.store, shares, clock, telemetry, common)
        )
        store = backing.store
        apis = await stack.enter_async_context(open_apis(options.upstream, clock, telemetry))
        targets = CountedTargets(store.targets, common.generations)
        held = KnownEnvironments(store.configs, clock)
        saas = make_saas(
            options.upstream,
            apis,
            store.configs,
            targets,
            clock,
            telemetry,
            leadership=backing.leadership,
            served=lambda environment: environment in held.names,
        )
        forwarding = forward(options, store, saas, backing.leads, clock, telemetry)

        def readiness() -> Readiness:
            return telemetry.failures.merge_into(backing.readiness(saas.upstream))

        async def state() -> State:
            await held.poll()
            mine = frozenset(saas.upstream.environments())
            return State(readiness(), mine, held.names & mine, backing.standalone())

        offer = WorkerServices(
            configs=store.configs,
            targets=targets,
            usage=store.usage,
            registrations=store.registrations,
            check_key=saas.checker.check,
            secret=partial(signing_secret, options.serving.tokens, store.secrets, clock, telemetry),
            state=state,
        )
        link = IpcServer(common.link, offer, common.generations, clock, telemetry.failures)
        return await _run(
            link,
            [
                held,
                saas.upstream,
                *forwarding.services,
                *backing.services(saas.upstream),
                *heartbeat(options.operation, readiness, clock, telemetry),
                *metrics(shown, clock, telemetry),
                *self_watch(readiness, clock, telemetry),
            ],
            forwarding.flush,
            options.serving.shutdown,
            stop,
            clock,
            telemetry,
        )


async def _offline(
    options: OfflineOptions, common: SharedRuntime, shown: socket.socket | None, stop: Stop
) -> ExitCode:
    clock = SystemClock()
    shares = memory_shares(options.serving)
    telemetry = make_part_telemetry(options.operation, clock, common.metrics, "sync")
    async with AsyncExitStack() as stack:
        # The directory is the truth. In a file, a version that was made up here outlives this process.
        held = await stack.enter_async_context(
            open_store(
                SqliteStoreOptions(directory=common.directory),
                shares,
                clock,
                telemetry,
                namespace="directory",
            )
        )
        kept = await stack.enter_async_context(
            open_store(
                options.store,
                shares,
                clock,
                telemetry,
                namespace="offline",
                temporary=common.directory,
            )
        )
        targets = CountedTargets(kept.targets, common.generations)
        watcher = OfflineWatcher(
            options.config_dir, held.configs, targets, clock, telemetry, grace=options.grace
        )
        names = await held.configs.environments()
        before = [one for name in names if (one := await held.configs.environment(name)) is not None]
        if before:
            watcher.resume(before)
        else:
            await watcher.load()

        there = KnownEnvironments(held.configs, clock)
        await there.poll()
        recovery = [*recovery_of(kept), *recovery_of(held)]

        def readiness() -> Readiness:
            served = Readiness(loaded=len(there.names), degraded=watcher.degraded)
            for one in recovery:
                served = one.merge_into(served)
            return telemetry.failures.merge_into(served)

        async def check_key(_: SdkKey) -> KeyVerdict:
            return KeyVerdict.REFUSED if there.names else KeyVerdict.UNAVAILABLE

        async def state() -> State:
            await there.poll()
            # As the Go proxy: offline there is no stream whose state /health could tell.
            return State(readiness(), frozenset(), there.names)

        offer = WorkerServices(
            configs=held.configs,
            targets=targets,
            usage=held.usage,
            registrations=held.registrations,
            check_key=check_key,
            secret=partial(signing_secret, options.serving.tokens, kept.secrets, clock, telemetry),
            state=state,
        )
        link = IpcServer(common.link, offer, common.generations, clock, telemetry.failures)
        beating = heartbeat(options.operation, readiness, clock, telemetry)
        telling = [*beating, *metrics(shown, clock, telemetry), *self_watch(readiness, clock, telemetry)]
        services: list[Service] = [watcher, there, *recovery, *telling]
        return await _run(link, services, (), options.serving.shutdown, stop, clock, telemetry)


async def _run(
    link: IpcServer,
    services: Sequence[Service],
    flush: Sequence[Phase],
    shutdown: ShutdownOptions,
    stop: Stop,
    clock: Clock,
    telemetry: Telemetry,
) -> ExitCode:
    """Until told; workers have handed over everything when they are gone, and then it is sent on."""
    patience = shutdown.deadline - last_seconds(shutdown)
    gone = Phase("workers", patience, lambda _: link.until_disconnected())
    return await run_services(
        [link, *services],
        [gone, *flush],
        deadline=shutdown.deadline,
        stop=stop,
        clock=clock,
        random=random.SystemRandom(),
        telemetry=telemetry,
    )
