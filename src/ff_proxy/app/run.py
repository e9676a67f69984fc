"""Running the proxy: one process or several, until a signal ends it (spec/behaviour#shutdown)."""

import os
import random
from collections.abc import Callable, Sequence
from functools import partial

from ff_proxy.app.build import build
from ff_proxy.app.generate import generate
from ff_proxy.app.listening import bind_admin
from ff_proxy.app.observability import make_child_telemetry, make_telemetry
from ff_proxy.app.options_reload import OptionsReload
from ff_proxy.app.process import AdminContext, ProcessContext, memory_shares
from ff_proxy.app.roles import ChildRole, Generate, ReplicaWorker, ServingRole, SingleRole, Sync, single_role
from ff_proxy.config.load import Loaded
from ff_proxy.errors import ExitCode
from ff_proxy.model.clock import Clock
from ff_proxy.model.memory import LEAST_SHARES, MemoryShares
from ff_proxy.runtime.clock import SystemClock
from ff_proxy.runtime.control_pipe import stop_on_control
from ff_proxy.runtime.event_loop import run_until_stopped
from ff_proxy.runtime.services import run_services
from ff_proxy.runtime.signals import Stop
from ff_proxy.telemetry import Telemetry


def run_single(loaded: Loaded) -> ExitCode:
    """Be the only process, until a signal or the end of the work; raises ``FfProxyError``."""
    role = single_role(loaded)
    unfinished = ExitCode.CRASH if isinstance(role, Generate) else ExitCode.OK
    return run_until_stopped(partial(_single, role, loaded), unfinished=unfinished)


def run_child(role: ChildRole, pipe: int) -> ExitCode:
    """Be one of several processes, until the supervisor says through ``pipe`` that it is over."""
    code = run_until_stopped(partial(_child, role), listen=partial(stop_on_control, pipe))
    if isinstance(role, Sync | ReplicaWorker):  # other workers may still hand over to the sync process
        role.runtime.remove_if_orphaned()
    return code


async def _single(role: SingleRole, loaded: Loaded, stop: Stop) -> ExitCode:
    clock = SystemClock()
    telemetry = make_telemetry(loaded, clock)
    if isinstance(role, Generate):
        return await generate(role, _context(clock, telemetry, LEAST_SHARES), stop)
    log = telemetry.logger("config")
    reload = OptionsReload(loaded, log)
    place = bind_admin(loaded, log)
    admin = None if place is None else AdminContext(place.listening, reload)
    context = _context(clock, telemetry, memory_shares(role.options.serving), admin)
    return await run_role(role, context, stop, reloads=[reload])


async def _child(role: ChildRole, stop: Stop) -> ExitCode:
    clock = SystemClock()
    telemetry = make_child_telemetry(role, clock)
    place = role.admin if isinstance(role, Sync | ReplicaWorker) else None
    admin = None
    if place is not None:
        admin = AdminContext(place.listening, OptionsReload(place.loaded, telemetry.logger("config")))
    context = _context(clock, telemetry, memory_shares(role.options.serving), admin)
    return await run_role(role, context, stop)


async def run_role(
    role: ServingRole | Sync,
    context: ProcessContext,
    stop: Stop,
    *,
    reloads: Sequence[Callable[[], object]] = (),
) -> ExitCode:
    """Build the process and run it until ``stop``; ``reloads`` read files again besides its own."""
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


def _context(
    clock: Clock, telemetry: Telemetry, shares: MemoryShares, admin: AdminContext | None = None
) -> ProcessContext:
    return ProcessContext(
        clock=clock,
        random=random.SystemRandom(),
        telemetry=telemetry,
        shares=shares,
        environ=os.environ,
        admin=admin,
    )
