"""Services until a signal, then phases, all of it within the deadline (spec/behaviour#shutdown)."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from io import StringIO
from random import Random

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ff_proxy.errors import ExitCode, StartupError, StoreUnavailable
from ff_proxy.model.readiness import Readiness
from ff_proxy.runtime import services
from ff_proxy.runtime.services import Phase, Service, run_services
from ff_proxy.runtime.signals import Stop
from ff_proxy.telemetry import Telemetry
from ff_proxy.telemetry.logs import make_logger
from tests.support.clock import FakeClock
from tests.support.foreign_errors import FOREIGN, made

DEADLINE = 9.0
PHASES = 8.0
"""What phases share: services have last steps too."""


class Quiet:
    """A service that runs until it is cancelled, and notes that."""

    def __init__(self, name: str = "quiet") -> None:
        self.name = name
        self.ready = asyncio.Event()
        self.ended = False

    async def run(self) -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self.ended = True


class Failing:
    """A service that ends as soon as it is told, with an error or without."""

    def __init__(self, error: BaseException | None) -> None:
        self.name = "failing"
        self.ready = asyncio.Event()
        self.go = asyncio.Event()
        self._error = error

    async def run(self) -> None:
        await self.go.wait()
        if self._error is not None:
            raise self._error


class World:
    """Services being run on a clock of the test."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.stop = Stop()
        self.out = StringIO()
        self.telemetry = Telemetry(make_logger("INFO", self.out), self.clock)
        self.acted: list[tuple[str, float]] = []

    def run(
        self,
        services: Sequence[Service],
        phases: Sequence[Phase],
        essential: Sequence[Service] = (),
    ) -> asyncio.Task[ExitCode]:
        return asyncio.create_task(
            run_services(
                services,
                phases,
                essential=essential,
                deadline=DEADLINE,
                stop=self.stop,
                clock=self.clock,
                random=Random(1),
                telemetry=self.telemetry,
            )
        )

    def phase(self, name: str, seconds: float, act: Callable[[float], Awaitable[object]]) -> Phase:
        async def noted(given: float) -> None:
            self.acted.append((name, given))
            await act(given)

        return Phase(name, seconds, noted)

    def said(self, event: str) -> list[dict[str, object]]:
        lines = [json.loads(line) for line in self.out.getvalue().splitlines()]
        return [line for line in lines if line["event"] == event]


async def hang(_: float) -> None:
    """A phase that does not keep to its time."""
    await asyncio.get_running_loop().create_future()


async def test_phases_run_in_order_and_services_last_until_their_end() -> None:
    """Each gets its own seconds; only then are the services cancelled."""
    world, service = World(), Quiet()

    async def still_serving(_: float) -> None:
        await asyncio.sleep(0)
        assert not service.ended

    running = world.run(
        [service], [world.phase("one", 3, still_serving), world.phase("two", 2, still_serving)]
    )
    await world.clock.settle()
    assert not running.done()
    world.stop.request_stop()
    assert await running is ExitCode.OK
    assert world.acted == [("one", 3), ("two", 2)]
    assert service.ended
    assert [line["deadline"] for line in world.said("shutting down")] == [DEADLINE]
    assert len(world.said("stopped")) == 1


async def test_what_is_left_of_the_deadline_is_what_a_phase_gets() -> None:
    """However much it asks for."""
    world = World()

    async def take_seven(_: float) -> None:
        await world.clock.sleep(7)

    running = world.run([Quiet()], [world.phase("one", 8, take_seven), world.phase("two", 60, hang)])
    world.stop.request_stop()
    await world.clock.advance(DEADLINE + 0.5)
    assert await running is ExitCode.OK
    assert world.acted == [("one", 8), ("two", 1)]


async def test_a_phase_that_hangs_is_cut_off() -> None:
    """It is told, and the next one has its turn; the whole ends in time."""
    world, service = World(), Quiet()
    cancelled = []

    async def hang_and_tell(seconds: float) -> None:
        try:
            await hang(seconds)
        finally:
            cancelled.append(True)

    running = world.run(
        [service], [world.phase("one", 3, hang_and_tell), world.phase("two", 60, hang_and_tell)]
    )
    world.stop.request_stop()
    await world.clock.advance(DEADLINE + 1)
    assert await running is ExitCode.OK
    assert [(line["phase"], line["seconds"]) for line in world.said("shutdown phase cut off")] == [
        ("one", 3),
        ("two", PHASES - 3.25),
    ]
    assert cancelled == [True, True]
    assert service.ended


async def test_the_deadline_is_armed_and_services_that_take_long_are_named() -> None:
    """Whatever hangs, the process ends in time, and it is said what hung."""
    world, hung = World(), asyncio.Event()
    armed: list[float] = []
    world.stop.arm = armed.append

    class Slow(Quiet):
        async def run(self) -> None:
            try:
                await super().run()
            finally:
                hung.set()
                await asyncio.sleep(0.6)

    running = world.run([Slow("slow one"), Quiet()], [])
    await world.clock.settle()
    world.stop.request_stop()
    async with asyncio.timeout(5):
        await hung.wait()
        assert await running is ExitCode.OK
    assert armed == [DEADLINE - 0.25]
    assert [line["services"] for line in world.said("services take long to end")] == [["slow one"]]


async def test_a_second_signal_ends_every_phase_at_once() -> None:
    """No time passes at all."""
    world = World()
    running = world.run([Quiet()], [world.phase("one", 3, hang), world.phase("two", 3, hang)])
    world.stop.request_stop()
    await world.clock.settle()
    assert [name for name, _ in world.acted] == ["one"]
    world.stop.request_stop()
    assert await running is ExitCode.OK
    assert [name for name, _ in world.acted] == ["one", "two"]
    assert world.clock.monotonic() == 0


async def test_a_phase_that_fails_is_told_and_the_rest_goes_on() -> None:
    """Usage is flushed though streams could not be ended."""
    world = World()

    async def fail(_: float) -> None:
        raise StoreUnavailable("away")

    async def work(_: float) -> None:
        await asyncio.sleep(0)

    running = world.run([Quiet()], [world.phase("one", 3, fail), world.phase("two", 3, work)])
    world.stop.request_stop()
    assert await running is ExitCode.OK
    assert [name for name, _ in world.acted] == ["one", "two"]
    (line,) = world.said("shutdown phase failed")
    assert "away" in str(line["error"])


async def test_an_essential_service_that_fails_ends_the_process_with_the_exit_code_of_its_error() -> None:
    """The others are cancelled; no phase runs, since nobody asked for an end."""
    for error, code, said in (
        (StartupError("no port"), ExitCode.CANNOT_START, "cannot go on"),
        (OSError("what"), ExitCode.CRASH, "crashed, please report this"),
    ):
        world, other, failing = World(), Quiet(), Failing(error)
        running = world.run([other], [world.phase("one", 3, hang)], [failing])
        failing.go.set()
        assert await running is code
        assert other.ended
        assert world.acted == []
        assert not world.said("stopped")
        (line,) = world.said(said)
        assert str(error) in str(line["error"])


async def test_an_expected_error_is_told_without_a_trace() -> None:
    """It is one line that says what to do."""
    world, failing = World(), Failing(StartupError("no port"))
    running = world.run([], [], [failing])
    failing.go.set()
    await running
    (line,) = world.said("cannot go on")
    assert line["error"] == "no port"
    assert "Traceback" not in world.out.getvalue()


async def test_an_essential_service_that_ends_by_itself_is_a_crash() -> None:
    """It was to run for as long as the process."""
    world, failing = World(), Failing(None)
    running = world.run([Quiet()], [], [failing])
    failing.go.set()
    assert await running is ExitCode.CRASH
    assert "failing ended by itself" in world.out.getvalue()


async def test_a_service_that_fails_on_the_way_down_leaves_nothing_running() -> None:
    """The phase that it interrupts is cancelled with everything else."""
    world, failing = World(), Failing(StartupError("gone"))
    ended = []

    async def hang_and_tell(seconds: float) -> None:
        try:
            await hang(seconds)
        finally:
            ended.append(True)

    running = world.run([], [world.phase("one", 3, hang_and_tell)], [failing])
    world.stop.request_stop()
    await world.clock.settle()
    failing.go.set()
    assert await running is ExitCode.CANNOT_START
    assert ended == [True]
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_whoever_runs_services_takes_over_signals() -> None:
    """From then on a signal does not cancel anything."""
    world = World()
    running = world.run([Quiet()], [])
    await world.clock.settle()
    assert world.stop.taken_over
    world.stop.request_stop()
    assert await running is ExitCode.OK


async def test_a_cancellation_that_is_missed_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the process would never end."""
    monkeypatch.setattr(services, "_INSIST_SECONDS", 0.01)

    class Deaf(Quiet):
        """Takes the first cancellation for nothing."""

        async def run(self) -> None:
            with suppress(asyncio.CancelledError):
                await asyncio.get_running_loop().create_future()
            await super().run()

    world = World()
    deaf = Deaf()
    running = world.run([deaf, Quiet()], [])
    await world.clock.settle()
    world.stop.requested.set()
    async with asyncio.timeout(5):
        assert await running is ExitCode.OK
    assert deaf.ended


class Stumbling(Quiet):
    """A service that fails a number of times, and then runs."""

    def __init__(self, error: BaseException, times: int) -> None:
        super().__init__("stumbling")
        self.begun = 0
        self._error = error
        self._times = times

    async def run(self) -> None:
        self.begun += 1
        if self.begun <= self._times:
            raise self._error
        await super().run()


@given(kind=st.sampled_from(FOREIGN), times=st.integers(1, 6))
@settings(max_examples=40, deadline=None)
def test_a_service_that_fails_is_run_again_and_others_go_on(kind: type[BaseException], times: int) -> None:
    """Whatever it fails with, and as often as it does: logged once, counted, degraded until it works."""
    error = made(kind)
    assume(error is not None and not isinstance(error, StopIteration))
    assert error is not None

    async def scenario() -> None:
        world, other, stumbling = World(), Quiet(), Stumbling(error, times)
        running = world.run([stumbling, other], [])
        await world.clock.settle()
        assert world.telemetry.failures.reasons()
        await world.clock.advance(200)
        assert stumbling.begun == times + 1
        assert not other.ended
        assert not running.done()
        assert not world.telemetry.failures.reasons()
        (line,) = world.said("service failed, it is started again: please report this")
        assert line["service"] == "stumbling"
        assert "Traceback" in str(line["trace"])
        assert len(world.said("service works again")) == 1
        counted = f'ff_proxy_service_failures_total{{service="stumbling"}} {times}.0'
        assert counted in world.telemetry.exposition().decode()
        world.stop.request_stop()
        assert await running is ExitCode.OK

    asyncio.run(scenario())


class InGroups(Stumbling):
    """The same in tasks of tasks, each beside one that goes on; each group waits in its body or behind it."""

    def __init__(self, waits_in_body: Sequence[bool], times: int) -> None:
        super().__init__(OSError("broken"), times)
        self._waits_in_body = waits_in_body

    async def run(self) -> None:
        await self._group(self._waits_in_body)

    async def _group(self, waits_in_body: Sequence[bool]) -> None:
        if not waits_in_body:
            await super().run()
            return
        async with asyncio.TaskGroup() as group:
            group.create_task(Quiet().run())
            group.create_task(self._group(waits_in_body[1:]))
            if waits_in_body[0]:
                await Quiet().run()


@given(waits_in_body=st.lists(st.booleans(), min_size=1, max_size=4), times=st.integers(1, 4))
@settings(max_examples=40, deadline=None)
def test_a_service_that_fails_in_a_task_group_is_run_again(waits_in_body: list[bool], times: int) -> None:
    """Before Python 3.13 a group that fails behind its body leaves the task as if it had been cancelled."""

    async def scenario() -> None:
        world, stumbling = World(), InGroups(waits_in_body, times)
        running = world.run([stumbling], [])
        await world.clock.settle()
        assert world.telemetry.failures.reasons()
        await world.clock.advance(200)
        assert stumbling.begun == times + 1
        assert not stumbling.ended
        assert not world.telemetry.failures.reasons()
        world.stop.request_stop()
        async with asyncio.timeout(5):
            assert await running is ExitCode.OK
        assert stumbling.ended

    asyncio.run(scenario())


async def test_a_failing_service_makes_the_process_degraded() -> None:
    """With what is the matter; it stays ready."""
    world, stumbling = World(), Stumbling(IndexError("list index out of range"), 1)
    running = world.run([stumbling], [])
    await world.clock.settle()
    readiness = world.telemetry.failures.merge_into(Readiness(loaded=1))
    assert readiness.ready
    (reason,) = readiness.degraded
    assert "stumbling failed" in reason
    assert "list index out of range" in reason
    world.stop.request_stop()
    assert await running is ExitCode.OK


async def test_a_service_that_is_cancelled_by_nobody_is_run_again() -> None:
    """A library may cancel a task of its own that the service waits for."""
    world, stumbling = World(), Stumbling(asyncio.CancelledError(), 1)
    running = world.run([stumbling], [])
    await world.clock.advance(1)
    assert stumbling.begun == 2
    world.stop.request_stop()
    assert await running is ExitCode.OK


async def test_an_error_in_the_moment_of_the_end_does_not_hide_it() -> None:
    """Python 3.11 raises what the tasks of a group failed with, and forgets the cancellation."""

    class Hiding(Quiet):
        """Fails when it is cancelled."""

        async def run(self) -> None:
            try:
                await super().run()
            except asyncio.CancelledError:
                raise ExceptionGroup("several", [OSError("while leaving")]) from None

    world = World()
    running = world.run([Hiding()], [])
    await world.clock.settle()
    world.stop.request_stop()
    async with asyncio.timeout(5):
        assert await running is ExitCode.OK


async def test_pauses_between_tries_grow() -> None:
    """A service that fails at once, every time, is not begun more than some times a minute."""
    world, stumbling = World(), Stumbling(OSError("again"), 10_000)
    running = world.run([stumbling], [])
    await world.clock.advance(600)
    assert 20 <= stumbling.begun <= 50
    world.stop.request_stop()
    assert await running is ExitCode.OK
