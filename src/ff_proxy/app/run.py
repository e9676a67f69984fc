"""Running what a mode has put together, and the order in which it goes down (spec/behaviour#shutdown)."""

import asyncio
import random
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from ff_proxy.api.health_log import HealthLog
from ff_proxy.app.serving import Serving
from ff_proxy.app.start_lines import ReadyLine
from ff_proxy.config.records import OperationOptions, ServingOptions, ShutdownOptions
from ff_proxy.errors import ExitCode, StoreError
from ff_proxy.http.sockets import bind
from ff_proxy.model.clock import Clock
from ff_proxy.model.readiness import Readiness
from ff_proxy.runtime.loop_lag import LoopLag
from ff_proxy.runtime.services import Phase, Service, run_services
from ff_proxy.runtime.signals import Stop
from ff_proxy.telemetry import Telemetry
from ff_proxy.telemetry.metrics_server import MetricsServer


async def serve(
    options: ServingOptions,
    operation: OperationOptions,
    serving: Serving,
    services: Sequence[Service],
    *,
    flush: Sequence[Phase],
    reloads: Sequence[Callable[[], object]],
    stop: Stop,
    clock: Clock,
    telemetry: Telemetry,
) -> ExitCode:
    """Be the only process: serve until a signal; ``flush`` comes last, with what is left of the deadline."""
    beating = heartbeat(operation, serving.readiness, clock, telemetry)
    shown = metrics(bound_metrics(options), clock, telemetry)
    return await serve_part(
        options.shutdown,
        serving,
        [*services, *beating, *shown],
        flush=flush,
        reloads=reloads,
        stop=stop,
        clock=clock,
        telemetry=telemetry,
    )


async def head_start(seconds: float, *steps: Callable[[], Awaitable[object]]) -> None:
    """Take these steps before anybody is served, as far as ``seconds`` and the store allow.

    Connections wait meanwhile: whoever comes to a process that has just been started again is not to find
    less than others hold.
    """
    with suppress(StoreError, TimeoutError):
        async with asyncio.timeout(seconds):
            for step in steps:
                await step()


async def serve_part(
    shutdown: ShutdownOptions,
    serving: Serving,
    services: Sequence[Service],
    *,
    flush: Sequence[Phase],
    reloads: Sequence[Callable[[], object]] = (),
    first: bool = True,
    stop: Stop,
    clock: Clock,
    telemetry: Telemetry,
) -> ExitCode:
    """Be one of several processes that serve: the same, without what only one of them does.

    The ``first`` one says for all that the proxy is ready.
    """
    server, hub = serving.server, serving.hub

    async def leave(seconds: float) -> None:
        server.drain_connections()
        if server.state.admitted:  # otherwise nobody would notice the delay
            await hub.drain(seconds)

    async def drain(seconds: float) -> None:
        server.stop_accepting()
        await server.finish(seconds)

    last = last_seconds(shutdown)
    phases = [Phase("streams", shutdown.delay, leave), Phase("requests", last, drain), *flush]
    secured = () if serving.tls is None else (serving.tls,)
    telling: list[Service] = [*self_watch(serving.readiness, clock, telemetry)]
    if first:
        telling += [ReadyLine(serving.readiness, serving.snapshots, clock, telemetry), serving.metrics]
    await server.start()
    return await run_services(
        [*services, *telling, serving.auth_gate, hub, *secured],
        phases,
        essential=[server],
        reloads=[*reloads, *(one.reload for one in secured)],
        deadline=shutdown.deadline,
        stop=stop,
        clock=clock,
        random=random.SystemRandom(),
        telemetry=telemetry,
    )


def self_watch(readiness: Callable[[], Readiness], clock: Clock, telemetry: Telemetry) -> Sequence[Service]:
    """The services by which every process of ours tells how it is."""
    metrics = telemetry.metrics

    def sample() -> None:
        state = readiness()
        metrics.is_ready.set(state.ready)
        metrics.degraded.set(len(state.degraded))

    telemetry.sampler.add(sample)
    return [telemetry.sampler, LoopLag(clock, telemetry, name_holder=telemetry.debugging)]


def last_seconds(shutdown: ShutdownOptions) -> float:
    """What each of the steps that follow ``shutdown-delay`` gets of the deadline: a third of the rest."""
    return max(0.0, shutdown.deadline - shutdown.delay) / 3


def heartbeat(
    operation: OperationOptions, readiness: Callable[[], Readiness], clock: Clock, telemetry: Telemetry
) -> Sequence[Service]:
    """The line about health, if it is wanted."""
    interval = operation.heartbeat_interval
    return [HealthLog(readiness, interval, clock, telemetry)] if interval else []


def bound_metrics(options: ServingOptions) -> socket.socket | None:
    """The metrics' own port, bound, if they have one; raises ``StartupError``."""
    port = options.metrics_port
    return bind(port, option="prometheus-port")[0] if port else None


def metrics(listening: socket.socket | None, clock: Clock, telemetry: Telemetry) -> Sequence[Service]:
    """The service that gives them out there, if anywhere."""
    if listening is None:
        return []
    return [MetricsServer(telemetry.exposition, listening, clock, telemetry.once("metrics"))]
