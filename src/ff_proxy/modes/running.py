"""Running what a mode has put together, and the order in which it goes down (PRODUCT §6.9)."""

from collections.abc import Sequence
from contextlib import nullcontext

from ff_proxy.config.records import OperationOptions, ServingOptions
from ff_proxy.errors import ExitCode
from ff_proxy.model.time import Clock
from ff_proxy.modes.serving import Serving
from ff_proxy.runtime.services import Phase, Service, run_services
from ff_proxy.runtime.signals import Stop
from ff_proxy.telemetry import Telemetry
from ff_proxy.web.heartbeat import Heartbeat


async def serve(
    options: ServingOptions,
    operation: OperationOptions,
    serving: Serving,
    services: Sequence[Service],
    *,
    flush: Sequence[Phase],
    stop: Stop,
    clock: Clock,
    telemetry: Telemetry,
) -> ExitCode:
    """Serve until a signal; ``flush`` comes last, and has what is left until the deadline."""
    listener, hub = serving.listener, serving.hub
    heartbeat: list[Service] = (
        [Heartbeat(serving.readiness, operation.heartbeat_interval, clock, telemetry)]
        if operation.heartbeat_interval
        else []
    )

    async def leave(seconds: float) -> None:
        listener.not_ready()
        await hub.drain(seconds)

    async def drain(seconds: float) -> None:
        listener.stop_accepting()
        await listener.drain(seconds)

    shutdown = options.shutdown
    left = max(0.0, shutdown.deadline - shutdown.delay)
    phases = [Phase("streams", shutdown.delay, leave), Phase("requests", left / 3, drain), *flush]
    figures = telemetry.serve(options.prometheus_port) if options.prometheus_port else nullcontext()
    with figures:
        await listener.start()
        return await run_services(
            [*services, serving.entrance, hub, listener, *heartbeat],
            phases,
            deadline=shutdown.deadline,
            stop=stop,
            clock=clock,
            log=telemetry.logger("runtime"),
        )
