"""Keeping children alive, and taking them down in order: decisions only, ``processes`` carries them out.

Nothing here knows what the children do. It is plain code without loop or threads, so that forking is safe.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final, Protocol

from ff_proxy.errors import ExitCode, StartupError
from ff_proxy.runtime.restart_backoff import RestartBackoff
from ff_proxy.telemetry import Logger

_FINAL: Final = frozenset({ExitCode.BAD_CONFIGURATION, ExitCode.CANNOT_START})
# A child that keeps to its time ends by itself a moment after it.
_GRACE: Final = 0.75
# What everybody has to end in after a second signal.
_HURRY: Final = 1.0


@dataclass(frozen=True, slots=True)
class Child:
    """A process to be kept alive.

    ``run`` is called in it with the reading end of its control pipe (see ``control``) and answers its exit
    code. When everything goes down, children of a lower ``stage`` are gone before the next are told. ``rest``
    is called here when the child has died and is not started again at once.
    """

    name: str
    run: Callable[[int], ExitCode]
    stage: int = 0
    rest: Callable[[], None] | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """A process is no more: ``code`` is its exit code, or the negative number of the signal that ended it."""

    pid: int
    code: int
    why: str


class Processes(Protocol):
    """What the supervisor needs of the operating system."""

    def asked(self) -> int:
        """How often a shutdown has been asked for."""
        ...

    def start(self, child: Child) -> int:
        """Start it: the process id; raises ``StartupError`` if there is no room for another process."""
        ...

    def tell(self, pid: int, seconds: float) -> None:
        """Ask a process to be gone within ``seconds``; a second time: at once."""
        ...

    def kill(self, pid: int) -> None:
        """End it."""
        ...

    def ended(self) -> Sequence[Ended]:
        """Processes that have ended since the last call."""
        ...

    def wait(self, seconds: float | None) -> None:
        """Return when a process ends or a shutdown is asked for, or after ``seconds``; or a little early."""
        ...


@dataclass(frozen=True, slots=True)
class _Life:
    child: Child
    began: float


class Supervisor:
    """Runs children until a shutdown is asked for, or until one of them cannot go on for good.

    Args:
        children: started in this order.
        processes: does it.
        deadline: seconds from being asked to the end of the last child.
        reserve: how many of them are kept for the last stage.
        now: seconds of a monotonic clock.
        random: spreads restarts.
        log: told of every death.
        bury: called with the name of a child that has ended.
        leave: called when everything begins to go down.
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
        bury: Callable[[str], None],
        leave: Callable[[], None],
    ) -> None:
        self._children = children
        self._processes = processes
        self._deadline = deadline
        self._reserve = reserve
        self._now = now
        self._log = log
        self._bury = bury
        self._leave = leave
        self._respawn = {child.name: RestartBackoff(random) for child in children}
        self._running: dict[int, _Life] = {}
        self._due: dict[Child, float] = dict.fromkeys(children, now())
        self._lived: set[str] = set()
        self._leaving: set[int] = set()
        self._final: ExitCode | None = None

    def run(self) -> ExitCode:
        """Until the end: ``OK``, or the exit code of the child that cannot go on.

        Raises ``StartupError`` if the system has no room for all of them to begin with.
        """
        while not self._processes.asked() and self._final is None:
            self._start_due()
            self._processes.wait(self._until_due())
            self._look_after()
        self._log.info("shutting down", deadline=self._deadline)
        self._go_down()
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
                # Others serve: one that is missing for a while is better than none.
                self._due[child] = now + self._respawn[child.name].after(0.0)
                self._log.error("process not started, trying again", of=child.name, error=str(error))
                continue
            self._lived.add(child.name)
            self._running[pid] = _Life(child, now)
            self._log.info("process started", of=child.name, pid=pid)

    def _until_due(self) -> float | None:
        return max(0.0, min(self._due.values()) - self._now()) if self._due else None

    def _look_after(self) -> None:
        for ended in self._processes.ended():
            life = self._running.pop(ended.pid)
            child = life.child
            self._bury(child.name)
            if child.stage in self._leaving:
                if ended.code:
                    self._log.warning("process did not end well", of=child.name, pid=ended.pid, why=ended.why)
                continue
            if ended.code in _FINAL:
                # Whatever it is, the next one would meet it too. It has said itself what.
                self._final = self._final or ExitCode(ended.code)
                self._log.error("process cannot go on", of=child.name, pid=ended.pid, why=ended.why)
                continue
            now = self._now()
            wait = self._respawn[child.name].after(now - life.began)
            self._due[child] = now + wait
            if wait and child.rest is not None:
                child.rest()
            self._log.error(
                "process died, it is started again",
                of=child.name,
                pid=ended.pid,
                why=ended.why,
                seconds=round(wait, 1),
            )

    def _go_down(self) -> None:
        self._leave()
        end = self._now() + self._deadline
        stages = sorted({child.stage for child in self._children})
        for stage in stages:
            # Those of later stages are kept alive meanwhile: the others hand over to them what they hold.
            self._leaving.add(stage)
            self._due = {child: due for child, due in self._due.items() if child.stage != stage}
            self._take_down(stage, end if stage == stages[-1] else end - self._reserve)

    def _take_down(self, stage: int, end: float) -> None:
        for pid in self._of(stage):
            self._processes.tell(pid, max(0.0, end - self._now()))
        limit = max(end, self._now()) + _GRACE
        hurried = False
        while leaving := self._of(stage):
            if not hurried and self._processes.asked() > 1:
                hurried = True
                limit = min(limit, self._now() + _HURRY)
                for pid in leaving:
                    self._processes.tell(pid, 0.0)
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
            self._look_after()

    def _of(self, stage: int) -> list[int]:
        return [pid for pid, life in self._running.items() if life.child.stage == stage]

    def _name(self, pid: int) -> str:
        return self._running[pid].child.name
