"""Keeps child processes alive and stops them in order; ``processes`` carries out what is decided here.

There is no event loop and no thread, so that forking is safe.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final, Protocol

from ff_proxy.errors import ExitCode, StartupError
from ff_proxy.model.backoff import Backoff
from ff_proxy.telemetry import Logger

_FINAL: Final = frozenset({ExitCode.BAD_CONFIGURATION, ExitCode.CANNOT_START})
# After so many seconds of life, a death counts as the first one.
_LIVED: Final = 10.0
# A child that keeps its limit ends by itself shortly after it.
_GRACE: Final = 0.75
# How long the end may take after a second signal.
_HURRY: Final = 1.0


@dataclass(frozen=True, slots=True)
class Child:
    """A process to keep alive.

    ``run`` is called in the child with the reading end of its control pipe (see ``control_pipe``) and returns
    its exit code. At shutdown, children of a lower ``stage`` end before the next are stopped. ``on_backoff``
    is called in the supervisor when the child has died and is not restarted at once.
    """

    name: str
    run: Callable[[int], ExitCode]
    stage: int = 0
    on_backoff: Callable[[], None] | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """A process that has ended: ``code`` is its exit code, or minus the number of the signal."""

    pid: int
    code: int
    why: str


class Processes(Protocol):
    """What the supervisor needs of the operating system."""

    def stop_requests(self) -> int:
        """How often a shutdown has been requested."""
        ...

    def start(self, child: Child) -> int:
        """Start it and return its process id; raises ``StartupError`` if the system refuses."""
        ...

    def stop(self, pid: int, seconds: float) -> None:
        """Have a process end within ``seconds``; the second time at once."""
        ...

    def kill(self, pid: int) -> None:
        """Kill it."""
        ...

    def ended(self) -> Sequence[Ended]:
        """Processes that have ended since the last call."""
        ...

    def wait(self, seconds: float | None) -> None:
        """Wait until a process ends, a shutdown is requested, or ``seconds`` are over; maybe less."""
        ...


@dataclass(frozen=True, slots=True)
class _Running:
    child: Child
    began: float


class Supervisor:
    """Runs children until a shutdown is requested, or until one of them can never go on.

    Args:
        children: started in this order.
        processes: starts and stops them.
        deadline: seconds from the request to the end of the last child.
        reserve: how many of them are reserved for the last stage.
        now: seconds of a monotonic clock.
        random: spreads restarts.
        log: gets a line for every death.
        on_exit: called with the name of a child that has ended.
        on_shutdown: called when the shutdown begins.
    """

    def __init__(
        self,
        children: Sequence[Child],
        processes: Processes,
        *,
        deadline: float,
        reserve: float,
        now: Callable[[], float],
        random: Random,
        log: Logger,
        on_exit: Callable[[str], None],
        on_shutdown: Callable[[], None],
    ) -> None:
        self._children = children
        self._processes = processes
        self._deadline = deadline
        self._reserve = reserve
        self._now = now
        self._log = log
        self._on_exit = on_exit
        self._on_shutdown = on_shutdown
        self._respawn = {child.name: _Restarts(random) for child in children}
        self._running: dict[int, _Running] = {}
        self._due: dict[Child, float] = dict.fromkeys(children, now())
        self._lived: set[str] = set()
        self._leaving: set[int] = set()
        self._final: ExitCode | None = None

    def run(self) -> ExitCode:
        """Until the end: ``OK``, or the exit code of the child that cannot go on.

        Raises ``StartupError`` if the system has no room for all of them to begin with.
        """
        while not self._processes.stop_requests() and self._final is None:
            self._start_due()
            self._processes.wait(self._until_due())
            self._reap()
        self._log.info("shutting down", deadline=self._deadline)
        self._shut_down()
        self._log.info("stopped")
        return ExitCode.OK if self._final is None else self._final

    def _start_due(self) -> None:
        now = self._now()
        for child in [child for child, due in self._due.items() if due <= now]:
            del self._due[child]
            try:
                pid = self._processes.start(child)
            except StartupError as error:
                if child.name not in self._lived:
                    raise
                # The others serve: one process less for a while is better than none.
                self._due[child] = now + self._respawn[child.name].after(0.0)
                self._log.error("process not started, trying again", of=child.name, error=str(error))
                continue
            self._lived.add(child.name)
            self._running[pid] = _Running(child, now)
            self._log.info("process started", of=child.name, pid=pid)

    def _until_due(self) -> float | None:
        return max(0.0, min(self._due.values()) - self._now()) if self._due else None

    def _reap(self) -> None:
        for ended in self._processes.ended():
            running = self._running.pop(ended.pid)
            child = running.child
            self._on_exit(child.name)
            if child.stage in self._leaving:
                if ended.code:
                    self._log.warning(
                        "process failed at shutdown", of=child.name, pid=ended.pid, why=ended.why
                    )
                continue
            if ended.code in _FINAL:
                # A restart would fail in the same way. The child has logged why.
                self._final = self._final or ExitCode(ended.code)
                self._log.error("process cannot go on", of=child.name, pid=ended.pid, why=ended.why)
                continue
            now = self._now()
            wait = self._respawn[child.name].after(now - running.began)
            self._due[child] = now + wait
            if wait and child.on_backoff is not None:
                child.on_backoff()
            self._log.error(
                "process died, restarting it",
                of=child.name,
                pid=ended.pid,
                why=ended.why,
                seconds=round(wait, 1),
            )

    def _shut_down(self) -> None:
        self._on_shutdown()
        end = self._now() + self._deadline
        stages = sorted({child.stage for child in self._children})
        for stage in stages:
            # Children of later stages stay alive meanwhile: they receive what the others hand over.
            self._leaving.add(stage)
            self._due = {child: due for child, due in self._due.items() if child.stage != stage}
            self._stop_stage(stage, end if stage == stages[-1] else end - self._reserve)

    def _stop_stage(self, stage: int, end: float) -> None:
        for pid in self._of(stage):
            self._processes.stop(pid, max(0.0, end - self._now()))
        limit = max(end, self._now()) + _GRACE
        hurried = False
        while leaving := self._of(stage):
            if not hurried and self._processes.stop_requests() > 1:
                hurried = True
                limit = min(limit, self._now() + _HURRY)
                for pid in leaving:
                    self._processes.stop(pid, 0.0)
            if self._now() >= limit:
                for pid in leaving:
                    self._log.warning("process does not end in time, killed", of=self._name(pid), pid=pid)
                    self._processes.kill(pid)
                limit = self._now() + _HURRY
            if self._final is None:
                self._start_due()
            due = self._until_due()
            left = max(0.0, limit - self._now())
            self._processes.wait(left if due is None else min(left, due))
            self._reap()

    def _of(self, stage: int) -> list[int]:
        return [pid for pid, running in self._running.items() if running.child.stage == stage]

    def _name(self, pid: int) -> str:
        return self._running[pid].child.name


class _Restarts:
    """When to restart a child: at once, and if it keeps dying after a second, doubled up to half a minute."""

    def __init__(self, random: Random) -> None:
        self._backoff = Backoff(random)
        self._died_young = False

    def after(self, lived: float) -> float:
        """Seconds to wait before the next start of a child that has lived for ``lived`` seconds."""
        again = self._died_young and lived < _LIVED
        self._died_young = True
        if again:
            return self._backoff.next()
        self._backoff.reset()
        return 0.0
