"""Pushpin, the server that holds the Go proxy's streams, with the rates that the Go proxy gives it."""

import json
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

from bench.common.http import expect
from bench.common.local_servers import control_port, origin
from bench.common.peers import DIRECTORY, filled
from bench.common.processes import HOST, Server, listens, running
from tests.support.ports import free_port

_CHANNEL = "bench"
_FIRST = b":\n\n"
_HOLD = {"Content-Type": "text/event-stream", "Grip-Hold": "stream", "Grip-Channel": _CHANNEL}


@contextmanager
def pushpin() -> Iterator[tuple[Server, int]]:
    """A running one whose GETs all open a stream; the second is a port that takes how many events to publish.

    Raises ``BenchError`` if it does not start.
    """
    with tempfile.TemporaryDirectory() as name, origin(_HOLD, _FIRST) as behind:
        work = Path(name)
        port, publishing = free_port(), free_port()
        words = {"work": name, "port": str(port), "control": str(publishing)}
        template = (DIRECTORY / "pushpin.conf").read_text(encoding="utf-8")
        (work / "pushpin.conf").write_text(filled(template, words))
        (work / "routes").write_text(f"* {HOST}:{behind}\n")
        numbers = count(2)

        def publish(events: int) -> None:
            items = [
                {"channel": _CHANNEL, "formats": {"http-stream": {"content": _record(flag, next(numbers))}}}
                for flag in range(events)
            ]
            expect(200, publishing, "POST", "/publish/", body=json.dumps({"items": items}).encode())

        with (
            control_port(publish) as control,
            running(
                "pushpin",
                ["pushpin", f"--config={work / 'pushpin.conf'}"],
                port,
                ready=lambda: listens(publishing) and _streams(port),
            ) as server,
        ):
            yield server, control


def _streams(port: int) -> bool:
    """Whether a stream opens: events before its parts have connected are lost."""
    with socket.socket() as probe, suppress(OSError):
        probe.settimeout(1)
        probe.connect((HOST, port))
        probe.sendall(b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n")
        return bool(probe.recv(1000))
    return False


def _record(flag: int, version: int) -> str:
    data = {"event": "patch", "domain": "flag", "identifier": f"bench-flag-{flag:02}", "version": version}
    return f"event: *\ndata: {json.dumps(data, separators=(',', ':'))}\n\n"
