"""How fast a change reaches every open stream, beside the least that a C server can do, in the same run.

    python bench/streams.py [--streams 10000] [--burst-streams 4000] [--rounds 10] [--repeats 3]

Both servers run at once and are measured in turn, by one C client on the same cores. Printed are medians over
all rounds of the time from the request for a change until the first, half, and all streams have every event
of it; the memory that a stream costs the server's process; and how many events never came. Needs gcc.
"""

import argparse
import contextlib
import http.client
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # run as a script, Python looks in its own directory only

from bench.stream_server import ENVIRONMENT, KEY

HERE = Path(__file__).parent


@dataclass
class Server:
    """A running server."""

    name: str
    process: subprocess.Popen[str]
    port: int
    control: int
    request: bytes


@dataclass
class Result:
    """What the rounds of one server gave."""

    opened: list[float] = field(default_factory=list)
    kilobytes: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    half: list[float] = field(default_factory=list)
    last: list[float] = field(default_factory=list)
    lost: int = 0


def main() -> None:
    """Measure one change to many streams, then a burst of ten to fewer."""
    parser = argparse.ArgumentParser(description="measure the fan-out of events")
    parser.add_argument("--streams", type=int, default=10_000)
    parser.add_argument("--burst-streams", type=int, default=4_000)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with tempfile.TemporaryDirectory() as directory:
        programs = Path(directory)
        for program in ("stream_client", "stream_server"):
            subprocess.run(
                ["gcc", "-O2", "-o", programs / program, HERE / "c" / f"{program}.c"], check=True, timeout=60
            )
        measure(programs, options.streams, 1, options.rounds, options.repeats)
        measure(programs, options.burst_streams, 10, options.rounds, options.repeats)


def measure(programs: Path, streams: int, events: int, rounds: int, repeats: int) -> None:
    """Open the streams ``repeats`` times on each server in turn, and announce ``rounds`` times."""
    results: dict[str, Result] = {"ff-proxy": Result(), "C epoll": Result()}
    for _ in range(repeats):
        with ours() as hub, peer(programs) as epoll:
            for server in (hub, epoll):
                run_client(programs, server, streams, events, rounds, results[server.name])
    print(f"\n{events} change(s) to {streams} streams, median of {repeats} x {rounds} rounds")
    print(f"{'':10} {'open s':>8} {'kB/stream':>10} {'first ms':>9} {'half ms':>9} {'all ms':>9} {'lost':>6}")
    for name, result in results.items():
        figures = [
            statistics.median(values)
            for values in (result.opened, result.kilobytes, result.first, result.half, result.last)
        ]
        opened, kilobytes, first, half, last = figures
        print(
            f"{name:10} {opened:8.2f} {kilobytes:10.2f} {first:9.1f} {half:9.1f} {last:9.1f} {result.lost:6}"
        )
    ratio = statistics.median(results["ff-proxy"].last) / statistics.median(results["C epoll"].last)
    print(f"all streams told: {ratio:.2f} x the C server")


@contextlib.contextmanager
def ours() -> Iterator[Server]:
    """The serving half of ff-proxy, and a request with a token of it."""
    with started([sys.executable, str(HERE / "stream_server.py")]) as (process, port, control):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("POST", "/client/auth", json.dumps({"apiKey": KEY}))
        token = json.loads(connection.getresponse().read())["authToken"]
        connection.close()
        request = (
            f"GET /stream?cluster=1 HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept: text/event-stream\r\n"
            f"API-Key: {KEY}\r\nAuthorization: Bearer {token}\r\nHarness-EnvironmentID: {ENVIRONMENT}\r\n\r\n"
        )
        yield Server("ff-proxy", process, port, control, request.encode())


@contextlib.contextmanager
def peer(programs: Path) -> Iterator[Server]:
    """The C server; it asks for nothing."""
    with started([str(programs / "stream_server")]) as (process, port, control):
        yield Server("C epoll", process, port, control, b"GET /stream HTTP/1.1\r\nHost: bench\r\n\r\n")


@contextlib.contextmanager
def started(command: list[str]) -> Iterator[tuple[subprocess.Popen[str], int, int]]:
    """A child that prints its two ports; it is ended afterwards."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            port, control = map(int, process.stdout.readline().split())
            yield process, port, control
        finally:
            process.terminate()
            process.wait(timeout=10)


def run_client(
    programs: Path, server: Server, streams: int, events: int, rounds: int, result: Result
) -> None:
    """Have the client open its streams and time the rounds; adds to ``result``."""
    go, told = os.pipe()
    before = resident(server.process.pid)
    arguments = [server.port, server.control, streams, events, rounds, 500]
    # The client waits on descriptor 3 until the memory has been read.
    with subprocess.Popen(
        ["sh", "-c", f'exec "$0" "$@" 3<&{go}', str(programs / "stream_client"), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pass_fds=(go,),
    ) as client:
        assert client.stdin is not None
        assert client.stdout is not None
        try:
            client.stdin.write(server.request)
            client.stdin.close()
            result.opened.append(float(client.stdout.readline().split()[1]))
            result.kilobytes.append((resident(server.process.pid) - before) / streams)
            os.write(told, b"!")
            for _ in range(rounds):
                _, first, half, last, lost = client.stdout.readline().split()
                result.first.append(float(first))
                result.half.append(float(half))
                result.last.append(float(last))
                result.lost += int(lost)
        finally:
            os.close(go)
            os.close(told)
            client.kill()


def resident(pid: int) -> int:
    """Kilobytes of a process that are in memory."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))


if __name__ == "__main__":
    main()
