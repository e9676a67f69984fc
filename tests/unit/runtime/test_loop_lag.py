"""What holds the event loop is measured, told, and at DEBUG named."""

import asyncio
import json
import time
from io import StringIO

from ff_proxy.runtime.clock import SystemClock
from ff_proxy.runtime.loop_lag import LoopLag
from ff_proxy.telemetry import Telemetry, null_telemetry
from ff_proxy.telemetry.logs import make_logger


def hold_everybody_up(seconds: float) -> None:
    """Something that blocks."""
    time.sleep(seconds)


async def held(
    seconds: float, *, name_holder: bool, times: int = 1
) -> tuple[Telemetry, list[dict[str, object]]]:
    """What is told of a loop that is held so often for so long."""
    out = StringIO()
    telemetry = Telemetry(make_logger("DEBUG", out), SystemClock())
    lag = LoopLag(SystemClock(), telemetry, name_holder=name_holder)
    running = asyncio.create_task(lag.run())
    for _ in range(times):
        await asyncio.sleep(0.05)
        hold_everybody_up(seconds)
    await asyncio.sleep(0.05)
    running.cancel()
    await asyncio.wait([running])
    return telemetry, [json.loads(line) for line in out.getvalue().splitlines()]


async def test_a_loop_that_is_held_is_told_once() -> None:
    """With the seconds; as a metric each time."""
    telemetry, lines = await held(0.12, name_holder=False, times=2)
    (line,) = [line for line in lines if line["level"] == "warning"]
    assert float(str(line["seconds"])) > 0.05
    shown = telemetry.exposition().decode()
    (total,) = [line for line in shown.splitlines() if line.startswith("ff_proxy_event_loop_lag_seconds_sum")]
    assert float(total.split()[1]) > 0.1
    # It slept: nothing held a processor.
    assert "ff_proxy_event_loop_held_total 0.0" in shown


async def test_work_that_holds_the_loop_is_counted() -> None:
    """Each time: with processor time it was our own, however busy the machine is."""
    telemetry = null_telemetry()
    lag = LoopLag(SystemClock(), telemetry)
    running = asyncio.create_task(lag.run())
    async with asyncio.timeout(20):
        await lag.ready.wait()
        for times in (1, 2, 3):  # merged, they would count once
            began = time.thread_time()
            while time.thread_time() - began < 0.12:
                pass
            while f"_held_total {times}.0" not in telemetry.exposition().decode():  # noqa: ASYNC110  (no event)
                await asyncio.sleep(0.005)
    running.cancel()
    await asyncio.wait([running])


async def test_who_holds_it_is_named_at_debug() -> None:
    """By the functions that were running."""
    _, lines = await held(0.4, name_holder=True)
    named = [str(line["by"]) for line in lines if line["level"] == "debug"]
    assert any("hold_everybody_up" in by for by in named)
