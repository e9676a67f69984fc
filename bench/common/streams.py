"""Clients of event streams by the thousand: a program in C that opens them and times what comes."""

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.common.plan import BenchError
from bench.common.processes import Server, listens

_SOURCES = Path(__file__).parents[1] / "c"


@dataclass(frozen=True, slots=True)
class Round:
    """Milliseconds until the first, half, 99 % and all streams had every event; events that never came."""

    first: float
    half: float
    most: float
    last: float
    lost: int


@dataclass(frozen=True, slots=True)
class Streamed:
    """What one opening of all streams gave.

    ``opened`` is in seconds, ``kilobytes`` what a stream costs the server's process, ``cpu`` the seconds of
    the server's CPU in each round on average.
    """

    opened: float
    kilobytes: float
    cpu: float
    rounds: Sequence[Round]


@dataclass(frozen=True, slots=True)
class Clients:
    """What to open, on whom, and what to have announced.

    Attributes:
        server: whose streams they are; its memory and CPU are looked at.
        control: a port that announces as many changes as it is told.
        request: opens a stream.
        streams: how many are opened.
        events: changes in a round.
        slow: streams beside them that are never read.
        fetch: sent by each client when it was told, on another connection; times are then of the responses.
    """

    server: Server
    control: int
    request: bytes
    streams: int
    events: int = 1
    slow: int = 0
    fetch: bytes = b""

    def run(self, programs: "Programs", rounds: int, gap: int = 300) -> Streamed:
        """Open all, and announce ``rounds`` times with ``gap`` milliseconds in between."""
        connections = (self.streams + self.slow) + (self.streams if self.fetch else 0)
        arguments = [self.server.port, self.control, self.streams, self.events, rounds, gap, self.slow]
        if self.fetch:
            arguments.append(len(self.fetch))
        before = self.server.resident()
        go, told = os.pipe()
        # The client waits on descriptor 3 until the memory has been read.
        with subprocess.Popen(
            ["sh", "-c", f'exec "$0" "$@" 3<&{go}', str(programs.client), *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=(go,),
        ) as client:
            assert client.stdin is not None
            assert client.stdout is not None
            try:
                client.stdin.write(self.request + self.fetch)
                client.stdin.close()
                lines = iter(client.stdout)
                opened = float(_words(lines, "open", connections)[0])
                kilobytes = (self.server.resident() - before) / (self.streams + self.slow)
                used = self.server.cpu()
                os.write(told, b"!")
                given = [_round(_words(lines, "round", connections)) for _ in range(rounds)]
                cpu = (self.server.cpu() - used) / rounds
            finally:
                os.close(go)
                os.close(told)
                client.kill()
        return Streamed(opened, kilobytes, cpu, given)


@dataclass(frozen=True, slots=True)
class Programs:
    """The compiled programs."""

    client: Path
    server: Path


@contextlib.contextmanager
def compiled() -> Iterator[Programs]:
    """Client and server, as long as the context lasts; needs gcc."""
    with tempfile.TemporaryDirectory() as name:
        programs = Programs(Path(name) / "stream_client", Path(name) / "stream_server")
        for program in (programs.client, programs.server):
            source = _SOURCES / f"{program.name}.c"
            subprocess.run(["gcc", "-O2", "-o", program, source], check=True, timeout=60)
        yield programs


@contextlib.contextmanager
def controlled(name: str, command: Sequence[str]) -> Iterator[tuple[Server, int]]:
    """A server that prints its port and its control port; it is ended afterwards."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            ports = process.stdout.readline().split()
            if len(ports) != 2 or not listens(int(ports[1])):
                raise BenchError(f"{name} did not start")
            yield Server(name, process.pid, int(ports[0])), int(ports[1])
        finally:
            process.terminate()
            process.wait(timeout=10)


def _words(lines: Iterator[bytes], expected: str, connections: int) -> list[str]:
    word, *others = next(lines, b"-").decode().split()
    if word != expected:
        raise BenchError(
            f"the client of {connections} connections failed; is the limit of open files too low?"
        )
    return others


def _round(words: list[str]) -> Round:
    first, half, most, last, lost = words
    return Round(float(first), float(half), float(most), float(last), int(lost))
