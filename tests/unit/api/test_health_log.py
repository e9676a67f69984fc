"""The line that says now and then how the proxy is doing."""

import asyncio
import io
import json

from ff_proxy.api.health import HealthLog
from ff_proxy.model.readiness import Readiness
from ff_proxy.telemetry import Telemetry
from ff_proxy.telemetry.logs import make_logger
from tests.support.clock import FakeClock


async def test_the_state_is_logged_every_interval() -> None:
    """Healthy, degraded or not ready, with the reasons."""
    lines, clock = io.StringIO(), FakeClock()
    telemetry = Telemetry(make_logger("INFO", lines), clock)
    states = iter(
        [
            Readiness(loaded=2),
            Readiness(loaded=2, degraded=("stream down",)),
            Readiness(loaded=0, pending=("key abcd***",)),
        ]
    )
    heartbeat = HealthLog(lambda: next(states), 60.0, clock, telemetry)
    running = asyncio.create_task(heartbeat.run())
    await clock.advance(59)
    assert lines.getvalue() == ""
    await clock.advance(121)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    said = [json.loads(line) for line in lines.getvalue().splitlines()]
    assert [line["event"] for line in said] == [
        "heartbeat healthy",
        "heartbeat degraded",
        "heartbeat not ready",
    ]
    assert said[1]["degraded"] == ["stream down"]
    assert said[2]["pending"] == ["key abcd***"]
    assert "degraded" not in said[0]
