"""Checks run side by side; each has a bound, and none takes another with it."""

import asyncio
import threading

import pytest

from ff_proxy.aio.daemon_thread import in_daemon_thread
from ff_proxy.commands.doctor.findings import Check, Outcome, Reporter, run_checks
from ff_proxy.errors import StartupError
from tests.support.doctor import findings_of


async def test_findings_come_in_the_order_of_the_checks() -> None:
    """As early as that allows, and the parts of a check in the order of its parts."""
    first, shown = asyncio.Event(), []

    async def slow(report: Reporter) -> None:
        await first.wait()
        report.ok("slow")

    async def quick(report: Reporter) -> None:
        async def late(part: Reporter) -> None:
            await asyncio.sleep(0)
            part.ok("late")

        async def early(part: Reporter) -> None:
            part.ok("early")

        await report.each([("a", late), ("b", early)])
        first.set()

    def show(finding: object) -> None:
        shown.append(finding)

    found = await run_checks([Check("one", slow), Check("two", quick)], show, lambda _d, _w: None)
    assert [(one.check, one.text) for one in found] == [
        ("one", "slow"),
        ("two a", "late"),
        ("two b", "early"),
    ]
    assert shown == found


async def test_whatever_a_check_does_the_others_go_on() -> None:
    """Hanging, an error of ours, an error of somebody else's."""

    async def hangs(_: Reporter) -> None:
        await asyncio.Event().wait()

    async def ours(_: Reporter) -> None:
        raise StartupError("say -port")

    async def foreign(report: Reporter) -> None:
        report.ok("so far")
        raise ZeroDivisionError("by\nnothing")

    async def fine(report: Reporter) -> None:
        report.ok("fine")

    found = await findings_of(
        Check("a", hangs, 0.01), Check("b", ours), Check("c", foreign), Check("d", fine)
    )
    assert [(one.check, one.outcome, one.text) for one in found] == [
        ("a", Outcome.PROBLEM, "no result within 0.01 seconds"),
        ("b", Outcome.PROBLEM, "say -port"),
        ("c", Outcome.OK, "so far"),
        ("c", Outcome.PROBLEM, "the check failed: ZeroDivisionError: by nothing"),
        ("d", Outcome.OK, "fine"),
    ]


async def test_a_thread_that_hangs_is_left_behind() -> None:
    """A disk may."""
    hold = threading.Event()

    async def hangs(report: Reporter) -> None:
        await in_daemon_thread(hold.wait, "check")
        report.ok("never")

    try:
        (found,) = await findings_of(Check("disk", hangs, 0.05))
        assert found.text == "no result within 0.05 seconds"
    finally:
        hold.set()


async def test_what_a_thread_raises_is_raised() -> None:
    """And what it returns, returned."""
    assert await in_daemon_thread(lambda: 5, "check") == 5
    with pytest.raises(ZeroDivisionError):
        await in_daemon_thread(lambda: 1 // 0, "check")


async def test_what_the_system_refuses_is_no_fault_of_ours() -> None:
    """It names the file, and the user."""

    async def closed(_: Reporter) -> None:
        raise PermissionError(13, "Permission denied", "/data/x")

    (found,) = await findings_of(Check("data-dir", closed))
    assert found.text == "/data/x: Permission denied"
    assert found.advice.startswith("check what user id ")
