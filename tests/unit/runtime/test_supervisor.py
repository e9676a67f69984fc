"""Which child is started, told or killed, and when; the system is a double, and time is the test's."""

import json
import random
from collections.abc import Callable, Sequence
from io import StringIO
from itertools import pairwise

import pytest

from ff_proxy.errors import ExitCode, StartupError
from ff_proxy.runtime.supervisor import Child, Ended, Supervisor
from ff_proxy.telemetry.logs import make_logger

DEADLINE = 9.0
RESERVE = 2.0


def never(_: int) -> ExitCode:
    """What a child does is not asked here."""
    raise AssertionError


SYNC = Child("sync", never, 1)
ONE = Child("worker-1", never)
TWO = Child("worker-2", never)


class System:
    """Plays the operating system: a script says what happens at which second."""

    def __init__(self) -> None:
        self.now = 0.0
        self.signals = 0
        self.running: dict[int, Child] = {}
        self.gone: list[Ended] = []
        self.events: list[tuple[float, str]] = []
        self.script: list[tuple[float, Callable[[], None]]] = []
        self.lives: dict[str, float] = {}
        self.obeys = True
        self.full: Callable[[float], bool] = lambda _: False
        self._next = 100

    def clock(self) -> float:
        return self.now

    def stop_requests(self) -> int:
        return self.signals

    def start(self, child: Child) -> int:
        if self.full(self.now):
            raise StartupError("no room")
        self._next += 1
        self.running[self._next] = child
        self.note("start", child)
        if child.name in self.lives:
            pid = self._next
            self.at(self.now + self.lives[child.name], lambda: self.end(pid, 1))
        return self._next

    def stop(self, pid: int, seconds: float) -> None:
        self.note(f"tell {seconds:g}", self.running[pid])
        if self.obeys:
            self.at(self.now + min(seconds, 1.0), lambda: self.end(pid, 0))

    def kill(self, pid: int) -> None:
        self.note("kill", self.running[pid])
        self.end(pid, -9)

    def ended(self) -> Sequence[Ended]:
        gone, self.gone = self.gone, []
        return gone

    def wait(self, seconds: float | None) -> None:
        if self.gone:
            return
        following = min((at for at, _ in self.script), default=None)
        if following is None and seconds is None:
            pytest.fail("it waits for ever")
        ends = self.now + seconds if seconds is not None else following
        assert ends is not None
        self.now = ends if following is None else min(ends, following)
        due = [act for at, act in self.script if at <= self.now]
        self.script = [(at, act) for at, act in self.script if at > self.now]
        for act in due:
            act()

    def at(self, second: float, act: Callable[[], None]) -> None:
        self.script.append((second, act))

    def end(self, pid: int, code: int) -> None:
        if pid in self.running:
            self.note("end", self.running.pop(pid))
            self.gone.append(Ended(pid, code, f"code {code}"))

    def signal(self) -> None:
        self.signals += 1

    def note(self, what: str, child: Child) -> None:
        self.events.append((round(self.now, 2), f"{what} {child.name}"))

    def pid_of(self, child: Child) -> int:
        return next(pid for pid, running in self.running.items() if running == child)

    def times(self, what: str) -> list[float]:
        return [at for at, event in self.events if event == what]


class World:
    """A supervisor in that system."""

    def __init__(self, *children: Child) -> None:
        self.system = System()
        self.out = StringIO()
        self.buried: list[str] = []
        self.left: list[float] = []
        self.supervisor = Supervisor(
            children,
            self.system,
            deadline=DEADLINE,
            reserve=RESERVE,
            now=self.system.clock,
            random=random.Random(1),
            log=make_logger("INFO", self.out),
            on_exit=self.buried.append,
            on_shutdown=lambda: self.left.append(self.system.now),
        )

    def run(self, until: float = 100.0) -> ExitCode:
        self.system.at(until, self.system.signal)
        return self.supervisor.run()

    def said(self, event: str) -> list[dict[str, object]]:
        lines = [json.loads(line) for line in self.out.getvalue().splitlines()]
        return [line for line in lines if line["event"] == event]


def test_children_are_started_in_order_and_taken_down_by_stages() -> None:
    """Those of the last stage are told when the others are gone, and have all that is left."""
    world = World(SYNC, ONE, TWO)
    assert world.run() is ExitCode.OK
    assert world.system.events == [
        (0, "start sync"),
        (0, "start worker-1"),
        (0, "start worker-2"),
        (100, "tell 7 worker-1"),
        (100, "tell 7 worker-2"),
        (101, "end worker-1"),
        (101, "end worker-2"),
        (101, "tell 8 sync"),
        (102, "end sync"),
    ]
    assert world.left == [100]
    assert not world.system.running


def test_the_dead_are_replaced_at_once_and_then_later_and_later() -> None:
    """At most every half minute; one line each; after a long running at once again."""
    world = World(ONE)
    world.system.lives["worker-1"] = 0.1
    assert world.run(300) is ExitCode.OK
    starts = world.system.times("start worker-1")
    waits = [later - earlier for earlier, later in pairwise(starts)]
    assert waits[0] == pytest.approx(0.1)
    assert all(earlier < later for earlier, later in pairwise(waits[:5]))
    assert 15 <= waits[-1] <= 30.1
    deaths = world.said("process died, restarting it")
    assert len(deaths) == len(world.system.times("end worker-1")) - len(world.system.times("tell 7 worker-1"))
    assert {line["why"] for line in deaths} == {"code 1"}
    assert set(world.buried) == {"worker-1"}
    assert len(world.buried) == len(world.system.times("end worker-1"))


def test_who_is_not_started_again_at_once_rests() -> None:
    """Nobody is to wait for it; the first time it is there again before anybody could."""
    rested: list[float] = []
    world = World(Child("worker-1", never, on_backoff=lambda: rested.append(world.system.now)))
    world.system.lives["worker-1"] = 0.1
    assert world.run(2) is ExitCode.OK
    deaths = world.system.times("end worker-1")
    assert rested == pytest.approx([death for death in deaths[1:] if death < 2], abs=0.01)


def test_a_system_without_room_is_asked_again() -> None:
    """Unless it has none to begin with: then nothing is served at all."""
    world = World(ONE, TWO)
    world.system.full = lambda now: 1 <= now < 8
    world.system.at(1, lambda: world.system.end(world.system.pid_of(ONE), -9))
    assert world.run(30) is ExitCode.OK
    assert len(world.system.times("start worker-1")) == 2
    assert 8 <= world.system.times("start worker-1")[1] < 16
    assert 3 <= len(world.said("process not started, trying again")) <= 6
    world = World(ONE, TWO)
    world.system.full = lambda _: True
    with pytest.raises(StartupError):
        world.run()


def test_a_long_life_makes_a_death_the_first_one_again() -> None:
    """What happens twice a day is no loop."""
    world = World(ONE)
    world.system.lives["worker-1"] = 30.0
    assert world.run(95) is ExitCode.OK
    assert world.system.times("start worker-1") == [0, 30, 60, 90]


@pytest.mark.parametrize("code", [ExitCode.CANNOT_START, ExitCode.BAD_CONFIGURATION])
def test_a_child_that_cannot_start_ends_everything(code: ExitCode) -> None:
    """With its exit code; nobody is started again meanwhile."""
    world = World(SYNC, ONE)
    world.system.at(5, lambda: world.system.end(world.system.pid_of(SYNC), code))
    assert world.run() is code
    assert world.system.times("start sync") == [0]
    assert world.system.times("tell 7 worker-1") == [5]
    assert not world.system.running
    assert len(world.said("process cannot go on")) == 1


def test_what_does_not_end_in_time_is_killed() -> None:
    """Each stage at its own end, all of it soon after the deadline."""
    world = World(SYNC, ONE)
    world.system.obeys = False
    assert world.run() is ExitCode.OK
    assert 107 < world.system.times("kill worker-1")[0] < 108
    assert 109 < world.system.times("kill sync")[0] < 110
    assert [line["of"] for line in world.said("process does not end in time, killed")] == ["worker-1", "sync"]


def test_a_second_signal_is_passed_on_at_once() -> None:
    """Who does not hear it either is killed a moment later."""
    world = World(SYNC, ONE)
    world.system.obeys = False
    world.system.at(101, world.system.signal)
    assert world.run() is ExitCode.OK
    assert world.system.times("tell 0 worker-1") == [101]
    assert world.system.times("kill worker-1") == [102]
    assert world.system.times("tell 0 sync") == [102]
    assert world.system.times("kill sync") == [103]


def test_the_last_stage_is_kept_alive_while_the_others_go_down() -> None:
    """What workers hand over in the end must find somebody."""
    world = World(SYNC, ONE)
    world.system.at(100.5, lambda: world.system.end(world.system.pid_of(SYNC), -9))
    assert world.run() is ExitCode.OK
    assert world.system.times("start sync") == [0, 100.5]
    assert world.system.times("tell 8 sync") == [101]


def test_who_is_dead_when_everything_goes_down_is_not_replaced() -> None:
    """It has nothing that could be handed over."""
    world = World(SYNC, ONE)
    world.system.lives["worker-1"] = 0.1
    assert world.run(0.5) is ExitCode.OK
    assert not [at for at in world.system.times("start worker-1") if at > 0.5]
