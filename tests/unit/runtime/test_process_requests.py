"""What a running process does when it is asked for something other than to end."""

import asyncio
import json
from io import StringIO

from ff_proxy.runtime.process_requests import log_tasks, serve_requests
from ff_proxy.runtime.signals import ProcessRequest, Stop
from ff_proxy.telemetry.logs import make_logger
from tests.support.clock import FakeClock


def lines(out: StringIO) -> list[dict[str, object]]:
    """What has been logged."""
    return [json.loads(line) for line in out.getvalue().splitlines()]


async def test_each_request_is_served_in_turn() -> None:
    """Also those that came before anybody served; every file is read again."""
    out, stop, done, read = StringIO(), Stop(), asyncio.Event(), []
    loop = asyncio.get_running_loop()

    def last() -> None:
        read.append("two")
        loop.call_soon_threadsafe(done.set)

    for wanted in (ProcessRequest.NOTHING, ProcessRequest.LOG_TASKS, ProcessRequest.RELOAD):
        stop.add_request(wanted)
    serving = asyncio.create_task(
        serve_requests(stop, [lambda: read.append("one"), last], make_logger("INFO", out))
    )
    async with asyncio.timeout(5):
        await done.wait()
    serving.cancel()
    assert read == ["one", "two"]
    events = [str(line["event"]) for line in lines(out)]
    assert events[0] == "ignored"
    assert events[-1] == "files are read again"
    assert not stop.requested.is_set()


async def test_without_files_that_is_said() -> None:
    """Whoever signals sees that it was heard."""
    out, stop = StringIO(), Stop()
    serving = asyncio.create_task(serve_requests(stop, [], make_logger("INFO", out)))
    stop.add_request(ProcessRequest.RELOAD)
    await FakeClock.settle()
    serving.cancel()
    assert [line["event"] for line in lines(out)] == ["there is nothing to read again"]


async def waits_here(event: asyncio.Event) -> None:
    """Where the test's task waits."""
    await event.wait()


async def test_tasks_are_shown_with_the_place_where_they_wait() -> None:
    """The innermost, through coroutines that wait for others."""

    async def outer(event: asyncio.Event) -> None:
        await waits_here(event)

    out, event = StringIO(), asyncio.Event()
    task = asyncio.create_task(outer(event), name="the-one")
    await asyncio.sleep(0)
    log_tasks(make_logger("INFO", out))
    event.set()
    await task
    shown = {line["name"]: str(line["waits_at"]) for line in lines(out) if line["event"] == "task"}
    assert "asyncio/locks.py" in shown["the-one"]


async def test_of_many_tasks_some_are_shown() -> None:
    """Ten thousand lines would hold the loop up."""
    out, event = StringIO(), asyncio.Event()
    tasks = [asyncio.create_task(waits_here(event)) for _ in range(1000)]
    log_tasks(make_logger("INFO", out))
    event.set()
    await asyncio.gather(*tasks)
    found = lines(out)
    assert found[0]["count"] == 1001
    assert len(found) <= 201
