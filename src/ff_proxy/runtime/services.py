"""Running services until they are told to stop, or until one of them fails."""

import asyncio
import traceback
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from ff_proxy.errors import ExitCode, FfProxyError
from ff_proxy.model.clock import Clock
from ff_proxy.runtime.signals import Stop
from ff_proxy.telemetry import Logger

_GRACE: Final = 0.25
# Longer than an orderly last step takes that a cancelled service still has to do.
_INSIST_SECONDS: Final = 3.0


class Service(Protocol):
    """Something that runs for as long as the process does."""

    name: str
    ready: asyncio.Event

    async def run(self) -> None:
        """Do the work until cancelled."""
        ...


@dataclass(frozen=True, slots=True)
class Phase:
    """A step of going down: ``act`` is given the seconds that it may take, and is cut off after them.

    ``seconds`` is what it may take at most; what is left until the deadline may be less.
    """

    name: str
    seconds: float
    act: Callable[[float], Awaitable[object]]


async def run_services(
    services: Sequence[Service],
    phases: Sequence[Phase],
    *,
    deadline: float,
    stop: Stop,
    clock: Clock,
    log: Logger,
) -> ExitCode:
    """Run all services in one task group until ``stop``, then the phases in order, then end the services.

    Everything is over within ``deadline`` seconds after the first signal (or the seconds that ``stop``
    names), and at once after a second one.
    A service that ends or fails by itself ends the process: with the exit code of its error if it is one
    of ours, else with ``CRASH``.
    """
    stop.taken_over = True
    try:
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(_guarded(service), name=service.name) for service in services]
            await stop.asked.wait()
            seconds = deadline if stop.seconds is None else stop.seconds
            log.info("shutting down", deadline=round(seconds, 3))
            await _go_down(phases, seconds, stop, clock, log)
            await _end(running)
    except BaseExceptionGroup as failures:
        return _explain(_leaves(failures), log)
    finally:
        stop.taken_over = False
    log.info("stopped")
    return ExitCode.OK


async def _end(running: Sequence[asyncio.Task[None]]) -> None:
    """Cancel, and again after a while: a library may miss it (``asyncio.wait_for`` before Python 3.12)."""
    while pending := [task for task in running if not task.done()]:
        for task in pending:
            task.cancel()
        await asyncio.wait(pending, timeout=_INSIST_SECONDS)


async def _guarded(service: Service) -> None:
    await service.run()
    raise RuntimeError(f"service {service.name} ended by itself")


async def _go_down(phases: Sequence[Phase], deadline: float, stop: Stop, clock: Clock, log: Logger) -> None:
    end = clock.monotonic() + deadline
    for phase in phases:
        seconds = max(0.0, min(phase.seconds, end - clock.monotonic()))
        acting = asyncio.ensure_future(phase.act(seconds))
        hurry = asyncio.ensure_future(stop.at_once.wait())
        # A moment more than it was given: an act that keeps to its time ends by itself.
        limit = asyncio.ensure_future(clock.sleep(seconds + _GRACE))
        try:
            await asyncio.wait({acting, hurry, limit}, return_when=asyncio.FIRST_COMPLETED)
            if not acting.done():
                log.warning("shutdown phase cut off", phase=phase.name, seconds=seconds)
        finally:
            for waiting in (acting, hurry, limit):
                waiting.cancel()
            await asyncio.gather(acting, hurry, limit, return_exceptions=True)
        if not acting.cancelled() and (error := acting.exception()) is not None:
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
