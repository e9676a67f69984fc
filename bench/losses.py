"""How much usage is lost when the proxy stops or is killed while SDKs post.

Each post has one entry. A store outlives the proxy; a second one is started on it and delivers what the
first had not. What Harness has then is held against what SDKs were told had arrived.
"""

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.common.environments import Made, write_offline
from bench.common.figures import Figure
from bench.common.http import ask, expect
from bench.common.plan import BenchError, Plan
from bench.common.processes import Server
from bench.common.results import Column, Row, Table
from bench.common.site import Saas, Site, proxy, sandbox
from bench.common.stores import Opened, kept_stores
from bench.posts import COUNT, usage_body

_MADE = Made("losses", 10)
_FIRST = 3.0
_DELIVERED_WITHIN = 60.0
_ABOUT = (
    "One client posts one entry after the other, for three seconds, and then the proxy ends. Lost is what the"
    " client was told had arrived and Harness never got, although a second proxy started on the same store;"
    " also in seconds of that client's posting."
)
_COLUMNS = (Column("posts a second"), Column("posts lost"), Column("seconds' worth", 3))


def measure(plan: Plan) -> Iterator[Table]:
    """The table; raises ``BenchError`` if a proxy does not start."""
    rows = []
    with TemporaryDirectory() as name, _harness(Path(name)) as saas:
        for store, opened in kept_stores().items():
            for number in (signal.SIGTERM, signal.SIGKILL):
                given = [_once(saas, opened, number, plan) for _ in range(plan.pick(2, 1))]
                figures = tuple(Figure.of(values) for values in zip(*given, strict=True))
                rows.append(Row(f"{store}, {number.name}", figures))
    yield Table("Usage when the proxy ends", _ABOUT, _COLUMNS, tuple(rows))


@contextmanager
def _harness(directory: Path) -> Iterator[Saas]:
    write_offline(directory, [_MADE])
    with sandbox(directory, [_MADE]) as saas:
        yield saas


def _once(saas: Saas, opened: Opened, number: signal.Signals, plan: Plan) -> tuple[float, float, float]:
    expect(200, saas.server.port, "DELETE", "/sandbox/usage")
    with opened() as kept:
        options = {**saas.options, **kept.options}
        with proxy({**options, "metric-post-duration": "60"}) as server:
            answered, rate = _posts(Site(server, saas, Path()), number, plan.pick(_FIRST, 0.5))
            # A proxy that is asked a second time to end does so at once: it is not to be asked again.
            os.waitid(os.P_PID, server.pid, os.WEXITED | os.WNOWAIT)
        with proxy({**options, "metric-post-duration": "1"}):
            # A post may have been stored and its answer lost with the process.
            lost = max(0, answered - _arrived(saas, answered, plan.pick(10.0, 2.0)))
    return rate, lost, lost / rate


def _posts(own: Site, number: signal.Signals, seconds: float) -> tuple[int, float]:
    """Post until the proxy, told to end meanwhile, refuses: posts answered with 200, and their rate."""
    fields = {"Content-Type": "application/json", **own.bearer(_MADE)}
    ending = threading.Timer(seconds, os.kill, (own.proxy.pid, number))
    begun = time.perf_counter()
    ending.start()
    answered = 0
    try:
        for target in count():
            body = usage_body(1, f"user-{target}").encode()
            if _took(own.proxy, fields, body):
                answered += 1
            elif time.perf_counter() - begun > seconds:
                break
            else:
                raise BenchError("a post was refused before the proxy was to end")
    finally:
        ending.cancel()
    return answered, answered / (time.perf_counter() - begun)


def _took(server: Server, fields: dict[str, str], body: bytes) -> bool:
    try:
        return ask(server.port, "POST", f"/metrics/{_MADE.id}", fields, body).status == 200
    except (OSError, HTTPException):
        return False


def _arrived(saas: Saas, wanted: int, patience: float) -> int:
    """What Harness has when it has all, or got no more for ``patience`` seconds."""
    begun = newest = time.monotonic()
    held = -1
    while held < wanted and time.monotonic() - newest < patience and newest - begun < _DELIVERED_WITHIN:
        usage = json.loads(expect(200, saas.server.port, "GET", "/sandbox/usage").body)
        now = sum(entry["count"] for entry in usage["sums"]) // COUNT
        if now > held:
            held, newest = now, time.monotonic()
        time.sleep(0.1)
    return held
