"""Lines for requests that were refused: told at once, then counted."""

import json
from io import StringIO

from ff_proxy.api.access_log import AccessLog
from ff_proxy.http.observer import Answered
from ff_proxy.telemetry.logs import make_logger
from tests.support.clock import FakeClock


def refused(status: int = 401, cause: str = "no token") -> Answered:
    """A request that was answered with an error."""
    return Answered("GET", b"/x", None, status, 0.001, "127.0.0.1", None, None, cause)


async def test_suppressed_lines_are_counted() -> None:
    """After ten seconds, or when the log ends; then the next error gets a line again."""
    out, clock = StringIO(), FakeClock()
    log = AccessLog(make_logger("INFO", out), clock, everything=False)

    def said() -> list[dict[str, object]]:
        return [json.loads(line) for line in out.getvalue().splitlines()]

    for _ in range(100):
        log.write(refused())
    log.write(refused(cause="another"))
    log.write(refused(200))
    assert [line["event"] for line in said()] == ["request", "request"]
    for _ in range(11):
        await clock.advance(1)
        log.tick()
    (left_out,) = said()[2:]
    assert (left_out["status"], left_out["cause"], left_out["left_out"]) == (401, "no token", 99)
    log.write(refused())
    assert len(said()) == 4


async def test_the_kinds_of_errors_are_bounded() -> None:
    """Causes may contain text from clients."""
    log = AccessLog(make_logger("ERROR", StringIO()), FakeClock(), everything=False)
    for number in range(20_000):
        log.write(refused(cause=f"there is no {number}"))
    assert log.kinds < 2000
