"""Runs services until a shutdown; one that fails is restarted while the others go on."""

import asyncio
import traceback
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Final, NoReturn, Protocol, final

from ff_proxy.aio.cancellation import CancellationCheck
from ff_proxy.aio.keep_going import keep_going
from ff_proxy.aio.waits import retrieve
from ff_proxy.errors import ExitCode, FfProxyError
from ff_proxy.model.clock import Clock
from ff_proxy.runtime.process_requests import serve_requests
from ff_proxy.runtime.signals import Stop
from ff_proxy.telemetry import Logger, Telemetry

_GRACE: Final = 0.25
_LEAST: Final = 0.05
# Longer than the last steps of a cancelled service take.
_INSIST_SECONDS: Final = 3.0
_ENDING_SECONDS: Final = 1.0
_SOON_SECONDS: Final = 0.5


class Service(Protocol):
    """Something that runs as long as the process."""

    name: str
    ready: asyncio.Event

    async def run(self) -> None:
        """Work until cancelled; it may be called again after a failure."""
        ...


@final
class FunctionService:
    """The service that calls ``run``, and is ready at once."""

    def __init__(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        self.name = name
        self.ready = asyncio.Event()
        self.ready.set()
        self._run: Final = run

    async def run(self) -> None:
        """See ``Service``."""
        await self._run()


@dataclass(frozen=True, slots=True)
class Phase:
    """A step of a shutdown: ``act`` is called with the seconds that it may take, and cut off after them.

    ``seconds`` is the most that it may take; there may be less until the deadline.
    """

    name: str
    seconds: float
    act: Callable[[float], Awaitable[object]]


async def run_services(
    services: Sequence[Service],
    phases: Sequence[Phase],
    *,
    essential: Sequence[Service] = (),
    reloads: Sequence[Callable[[], object]] = (),
    deadline: float,
    stop: Stop,
    clock: Clock,
    random: Random,
    telemetry: Telemetry,
) -> ExitCode:
    """Run all services in one task group until ``stop``, then the phases in order, then end the services.

    Everything is over within ``deadline`` seconds after the first signal (or the seconds that ``stop``
    names), and at once after a second one. ``reloads`` read files again on SIGHUP.
    A service that ends or fails is reported and restarted, and the others go on (spec/behaviour#containment).
    An ``essential`` one ends the process: with the exit code of its error if it has one, else with ``CRASH``.
    """
    log = telemetry.logger("runtime")
    kept = partial(keep_going, clock=clock, random=random, failures=telemetry.failures)
    stop.taken_over = True
    check = CancellationCheck()
    try:
        async with asyncio.TaskGroup() as group:
            running = [
                group.create_task(kept(service.run, service.name), name=service.name)
                for service in (telemetry.grouped_lines, *services)
            ]
            requests = partial(serve_requests, stop, reloads, log)
            running.append(group.create_task(kept(requests, "requests"), name="requests"))
            running += [group.create_task(_guarded(service), name=service.name) for service in essential]
            await stop.requested.wait()
            seconds = deadline if stop.seconds is None else stop.seconds
            log.info("shutting down", deadline=round(seconds, 3))
            # A moment earlier: ending a process takes time, too.
            stop.arm(max(seconds - _GRACE, seconds / 2))
            # Services have last steps too, and connections have to be closed.
            await _run_phases(phases, seconds - min(_ENDING_SECONDS, seconds / 8), stop, clock, log)
            await _end(running, log)
    except BaseExceptionGroup as failures:
        code = _explain(_leaves(failures), log)
        check.raise_if_cancelled(failures)
        return code
    finally:
        stop.taken_over = False
    log.info("stopped")
    return ExitCode.OK


async def _end(running: Sequence[asyncio.Task[NoReturn]], log: Logger) -> None:
    """Cancel, and again after a while: a library may miss it (``asyncio.wait_for`` before Python 3.12)."""
    while pending := [task for task in running if not task.done()]:
        for task in pending:
            task.cancel()
        _, late = await asyncio.wait(pending, timeout=_SOON_SECONDS)
        if late:
            log.warning("services take long to end", services=sorted(task.get_name() for task in late))
            await asyncio.wait(late, timeout=_INSIST_SECONDS - _SOON_SECONDS)


async def _guarded(service: Service) -> NoReturn:
    await service.run()
    raise RuntimeError(f"service {service.name} ended by itself")


async def _run_phases(
    phases: Sequence[Phase], deadline: float, stop: Stop, clock: Clock, log: Logger
) -> None:
    end = clock.monotonic() + deadline
    for phase in phases:
        seconds = max(0.0, min(phase.seconds, end - clock.monotonic()))
        acting = asyncio.ensure_future(phase.act(seconds))
        hurry = asyncio.ensure_future(stop.at_once.wait())
        # A little more time than it was given, so that an act that keeps its limit ends by itself. Phases
        # after the deadline share it.
        grace = max(_LEAST, min(_GRACE, end + _GRACE - clock.monotonic()))
        limit = asyncio.ensure_future(clock.sleep(seconds + grace))
        try:
            await asyncio.wait({acting, hurry, limit}, return_when=asyncio.FIRST_COMPLETED)
            if not acting.done():
                log.warning("shutdown phase cut off", phase=phase.name, seconds=seconds)
        finally:
            for waiting in (acting, hurry, limit):
                waiting.cancel()
            await asyncio.wait({acting, hurry, limit}, timeout=_GRACE)
        if not acting.done():
            acting.add_done_callback(retrieve)  # it is not awaited any longer
        elif not acting.cancelled() and (error := acting.exception()) is not None:
            log.error("shutdown phase failed", phase=phase.name, error=repr(error))


def _explain(failures: Sequence[BaseException], log: Logger) -> ExitCode:
    for failure in failures:
        if isinstance(failure, FfProxyError):
            log.error("cannot go on", error=str(failure))
        else:
            trace = "".join(traceback.format_exception(failure))
            log.error("crashed, please report this", error=repr(failure), trace=trace)
    expected = [failure.exit_code for failure in failures if isinstance(failure, FfProxyError)]
    return expected[0] if len(expected) == len(failures) else ExitCode.CRASH


def _leaves(failures: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for failure in failures.exceptions:
        found += _leaves(failure) if isinstance(failure, BaseExceptionGroup) else [failure]
    return found
