"""Usage of very many client SDKs in one environment, sent to a distant Harness."""

import asyncio
import json
import time
from collections.abc import Iterator

from bench.common.environments import Made
from bench.common.figures import Figure
from bench.common.http import expect, metric
from bench.common.plan import BenchError, Plan
from bench.common.processes import HOST
from bench.common.results import Column, Row, Table
from bench.common.site import Site, site
from bench.posts import usage_body

_MADE = Made("forwarding", 12)
_SDKS = 100_000
_SECONDS = 60.0
"""An SDK posts once a minute."""
_DELAY_MS = 100
_CONNECTIONS = 64
_SOMEBODY = "somebody"
_CLIENT_SDK = {"SDK_TYPE": "client", "SDK_LANGUAGE": "JavaScript", "SDK_VERSION": "1.32.0"}
_LONG = 120.0
_COLUMNS = (
    Column("posts/s"),
    Column("counts/s posted"),
    Column("counts/s at Harness"),
    Column("seconds behind", 1),
    Column("dropped"),
    Column("CPU µs per count", 1),
)
_ABOUT = (
    "Each SDK posts once, within a minute and evenly spread, a count of every flag for a target of its own;"
    f" Harness takes {_DELAY_MS} ms for each post. Counts a second at Harness are over the time from the"
    " first post until all have arrived there; seconds behind are those after the last post."
)


def measure(plan: Plan) -> Iterator[Table]:
    """The table; raises ``BenchError`` if a post is refused, or counts neither arrive nor are dropped."""
    sdks, seconds = plan.pick((_SDKS, _SECONDS), (400, 2.0))
    yield Table("Usage to Harness", _ABOUT, _COLUMNS, (_row(sdks, seconds),))


def _row(sdks: int, seconds: float) -> Row:
    with site([_MADE], metric_post_duration="1") as own:
        fault = json.dumps({"route": "usage", "delayMs": _DELAY_MS}).encode()
        expect(200, own.saas.server.port, "POST", "/sandbox/faults", body=fault)
        head = _head(own)
        before, begun = own.proxy.cpu(), time.monotonic()
        asyncio.run(_post(own.proxy.port, head, sdks, seconds))
        posted = time.monotonic()
        _until_sent(own)
        over, used = time.monotonic(), own.proxy.cpu() - before
        counts, dropped = sdks * _MADE.flags, metric(own.proxy.port, "ff_proxy_usage_dropped_total")
        arrived = _arrived(own)
        if arrived + dropped != counts:
            raise BenchError(f"{counts} counts were posted, {arrived} arrived and {dropped} were dropped")
        figures = (
            sdks / (posted - begun),
            counts / (posted - begun),
            arrived / (over - begun),
            over - posted,
            dropped,
            used * 1e6 / counts,
        )
        return Row(f"{sdks:,} client SDKs", tuple(Figure.of([figure]) for figure in figures))


def _head(own: Site) -> str:
    fields = {"Host": "bench", "Content-Type": "application/json", **own.bearer(_MADE)}
    lines = [f"POST /metrics/{_MADE.id}?cluster=1 HTTP/1.1", *(f"{n}: {v}" for n, v in fields.items())]
    return "\r\n".join(lines)


async def _post(port: int, head: str, sdks: int, seconds: float) -> None:
    begun, numbers = time.monotonic(), iter(range(sdks))
    same = usage_body(_MADE.flags, _SOMEBODY, count=1, sdk=_CLIENT_SDK).encode()

    async def some() -> None:
        reader, writer = await asyncio.open_connection(HOST, port)
        for number in numbers:
            body = same.replace(_SOMEBODY.encode(), b"user-%d" % number)
            await asyncio.sleep(begun + seconds * number / sdks - time.monotonic())
            writer.write(f"{head}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            if b" 200 " not in answer[:16]:
                raise BenchError(f"a post was refused: {answer!r}")
            length = answer.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            await reader.readexactly(int(length))
        writer.close()

    async with asyncio.TaskGroup() as group:
        for _ in range(_CONNECTIONS):
            group.create_task(some())


def _until_sent(own: Site) -> None:
    """Wait until nothing is queued, neither for the store nor for Harness."""
    end, quiet = time.monotonic() + _LONG, 0
    while quiet < 2:  # counts may be between the two queues at one moment
        if time.monotonic() > end:
            raise BenchError(f"usage is still queued after {_LONG:.0f} seconds")
        time.sleep(0.5)
        queues = ("ff_proxy_usage_queued", 'ff_proxy_queue_entries{queue="usage"}')
        waiting = any(metric(own.proxy.port, name) for name in queues)
        quiet = quiet + 1 if not waiting else 0


def _arrived(own: Site) -> int:
    told = json.loads(expect(200, own.saas.server.port, "GET", "/sandbox/usage", seconds=_LONG).body)
    return sum(entry["count"] for entry in told["sums"])
