"""Thousands of clients of event streams: a C program that opens them and times events."""

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from bench.common.plan import BenchError
from bench.common.processes import Server

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
    """The figures of opening all streams once.

    ``opened`` is in seconds, ``kilobytes`` what a stream costs the server's process, ``cpu`` the seconds of
    the server's CPU in each round on average.
    """

    opened: float
    kilobytes: float
    cpu: float
    rounds: list[Round]


@dataclass(frozen=True, slots=True)
class Clients:
    """What to open, on which server, and what to announce.

    Attributes:
        server: whose streams they are; its memory and CPU are looked at.
        control: a port that announces as many changes as it is told.
        request: opens a stream.
        streams: how many are opened.
        events: changes in a round.
        slow: further streams, which are never read.
        window: how many wait for their opening at a time.
        patient: whether streams that end while others open are opened again; if not, that is an error.
        fetch: sent by each client when it was told, on another connection; times are then of the responses.
    """

    server: Server
    control: int
    request: bytes
    streams: int
    events: int = 1
    slow: int = 0
    window: int = 256
    patient: bool = False
    fetch: bytes = b""

    def run(self, programs: "Programs", rounds: int, gap: int = 300) -> Streamed:
        """Open all, and announce ``rounds`` times with ``gap`` milliseconds in between."""
        connections = (self.streams + self.slow) + (self.streams if self.fetch else 0)
        before = self.server.resident()
        go, told = os.pipe()
        # The client waits for a byte from ``go`` until the memory has been read.
        numbers = [self.server.port, self.control, self.streams, self.events, rounds, gap, self.slow]
        numbers += [self.window, go]
        if self.fetch:
            numbers.append(len(self.fetch))
        with tempfile.TemporaryFile() as log:
            client = subprocess.Popen(
                [programs.client, *map(str, numbers)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                pass_fds=(go,),
            )
            with client:
                try:
                    said = _Said(
                        client, log, f"the client of {connections} connections to {self.server.name}"
                    )
                    said.begin(self.request + self.fetch)
                    opened, again = said.words("open")
                    if int(again) and not self.patient:
                        raise BenchError(f"{self.server.name} ended {again} streams while others opened")
                    kilobytes = (self.server.resident() - before) / (self.streams + self.slow)
                    used = self.server.cpu()
                    os.write(told, b"!")
                    given = [_round(said.words("round")) for _ in range(rounds)]
                    cpu = (self.server.cpu() - used) / rounds
                finally:
                    os.close(go)
                    os.close(told)
                    client.kill()
        return Streamed(float(opened), kilobytes, cpu, given)


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


class _Said:
    """The output of a client; a failure is a ``BenchError`` with its message."""

    def __init__(self, client: subprocess.Popen[bytes], log: IO[bytes], name: str) -> None:
        self._client = client
        self._log = log
        self._name = name

    def begin(self, requests: bytes) -> None:
        assert self._client.stdin is not None
        # If it has ended already, its first line will be missing.
        with contextlib.suppress(BrokenPipeError):
            self._client.stdin.write(requests)
            self._client.stdin.close()

    def words(self, expected: str) -> list[str]:
        assert self._client.stdout is not None
        word, *others = self._client.stdout.readline().decode().split() or [""]
        if word != expected:
            self._client.wait(timeout=10)
            self._log.seek(0)
            raise BenchError(f"{self._name} failed: {self._log.read(500).decode(errors='replace').strip()}")
        return others


def _round(words: list[str]) -> Round:
    first, half, most, last, lost = words
    return Round(float(first), float(half), float(most), float(last), int(lost))
