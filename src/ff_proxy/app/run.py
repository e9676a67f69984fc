"""Runs a process of the proxy until a signal ends it (spec/behaviour#shutdown)."""

from collections.abc import Callable, Sequence
from functools import partial

from ff_proxy.app.build import build
from ff_proxy.app.listening import bind_admin
from ff_proxy.app.observability import make_child_telemetry, make_telemetry, set_levels
from ff_proxy.app.options_reload import LOG_FLAGS, OptionsReload
from ff_proxy.app.process import ProcessContext, memory_shares
from ff_proxy.app.roles import ChildRole, Generate, ReplicaWorker, ServingRole, SingleRole, Sync, single_role
from ff_proxy.app.tls import check_tls
from ff_proxy.config.load import Loaded
from ff_proxy.errors import ExitCode
from ff_proxy.model.clock import Clock
from ff_proxy.model.memory import LEAST_SHARES
from ff_proxy.runtime.clock import SystemClock
from ff_proxy.runtime.control_pipe import stop_on_control
from ff_proxy.runtime.event_loop import run_until_stopped
from ff_proxy.runtime.services import run_services
from ff_proxy.runtime.signals import Stop
from ff_proxy.telemetry import Telemetry, null_telemetry


def run_single(loaded: Loaded) -> ExitCode:
    """Run as the only process, until a signal or until the work is done; raises ``FfProxyError``."""
    role, clock = single_role(loaded), SystemClock()
    telemetry = make_telemetry(loaded, clock)
    unfinished = ExitCode.CRASH if isinstance(role, Generate) else ExitCode.OK
    main = partial(_single, role, loaded, clock, telemetry)
    return run_until_stopped(main, unfinished=unfinished, at_end=telemetry.drain_log)


def run_child(role: ChildRole, reload: OptionsReload, pipe: int) -> ExitCode:
    """Run as one of several processes, until the supervisor ends it through ``pipe``."""
    clock = SystemClock()
    telemetry = make_child_telemetry(role, clock)
    main = partial(_child, role, reload, clock, telemetry)
    code = run_until_stopped(main, listen=partial(stop_on_control, pipe), at_end=telemetry.drain_log)
    if isinstance(role, Sync | ReplicaWorker):  # other workers may still hand over to the sync process
        role.runtime.remove_if_orphaned()
    return code


async def _single(
    role: SingleRole, loaded: Loaded, clock: Clock, telemetry: Telemetry, stop: Stop
) -> ExitCode:
    if isinstance(role, Generate):
        from ff_proxy.app.generate import generate  # noqa: PLC0415  (no other role needs YAML for it)

        return await generate(
            role, ProcessContext(clock=clock, telemetry=telemetry, shares=LEAST_SHARES), stop
        )
    log = telemetry.logger("config")
    reload = OptionsReload(loaded, log, [check_tls(clock)])
    context = ProcessContext(
        clock=clock,
        telemetry=telemetry,
        shares=memory_shares(role.options),
        reload=reload,
        admin=bind_admin(loaded, log),
    )
    return await run_role(role, context, stop)


async def _child(
    role: ChildRole, reload: OptionsReload, clock: Clock, telemetry: Telemetry, stop: Stop
) -> ExitCode:
    admin = role.admin if isinstance(role, Sync | ReplicaWorker) else None
    # Only the supervisor logs what a reload has changed.
    own = reload.for_child(null_telemetry().logger("config"))
    context = ProcessContext(
        clock=clock, telemetry=telemetry, shares=memory_shares(role.options), reload=own, admin=admin
    )
    return await run_role(role, context, stop)


async def run_role(role: ServingRole | Sync, context: ProcessContext, stop: Stop) -> ExitCode:
    """Build the process and run it until ``stop``."""
    reloads: Sequence[Callable[[], object]] = ()
    if context.reload is not None:
        context.reload.add(LOG_FLAGS, partial(set_levels, context.telemetry))
        reloads = (context.reload,)
    async with build(role, context) as process:
        await process.start()
        return await run_services(
            process.services,
            process.phases,
            essential=process.essential,
            reloads=[*reloads, *process.reloads],
            deadline=process.deadline,
            stop=stop,
            clock=context.clock,
            random=context.random,
            telemetry=context.telemetry,
        )
