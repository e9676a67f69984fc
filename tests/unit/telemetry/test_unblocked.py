"""A log whose reader stalls holds nobody up, and loses lines only beyond a limit."""

import os
import select
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import TextIO

import pytest

from ff_proxy.telemetry.logs import make_logger
from ff_proxy.telemetry.unblocked import UnblockedOutput, may_stall


@pytest.fixture
def pipe() -> Iterator[tuple[int, TextIO]]:
    """The reading end of a pipe, and its writing end."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "w", encoding="utf-8") as stream:
        yield reading, stream
    os.close(reading)


def read_available(reading: int) -> bytes:
    """What is in the pipe, without waiting for more."""
    os.set_blocking(reading, False)
    found = bytearray()
    while True:
        try:
            found += os.read(reading, 2**20)
        except BlockingIOError:
            return bytes(found)


def test_lines_arrive_at_once(pipe: tuple[int, TextIO]) -> None:
    """While somebody reads it is as if they were written."""
    reading, stream = pipe
    output = UnblockedOutput(stream, str)
    for line in ("one\n", "two \ud800\n"):
        output.write(line)
        output.flush()
    assert read_available(reading) == b"one\ntwo \\ud800\n"


def test_a_reader_that_stalls_gets_every_line_later(pipe: tuple[int, TextIO]) -> None:
    """In order, none of them broken."""
    reading, stream = pipe
    output = UnblockedOutput(stream, str)
    lines = [f"{number:06} {'x' * (number % 9000)}\n" for number in range(40)]
    for line in lines:
        output.write(line)
        output.flush()
    found = b""
    while len(found) < sum(map(len, lines)):
        found += read_available(reading)
        output.flush()
    assert found.decode() == "".join(lines)


def test_lines_beyond_the_limit_are_counted(pipe: tuple[int, TextIO]) -> None:
    """One line says how many, where they are missing; after it there is room again."""
    reading, stream = pipe
    logger = make_logger("INFO", stream)
    done = threading.Event()

    def log() -> None:
        for number in range(10_000):
            logger.info("line", number=number, text="x" * 100)
        done.set()

    threading.Thread(target=log, daemon=True).start()
    assert done.wait(60)
    found = b""
    for _ in range(50):
        found += read_available(reading)
        logger.info("again")
    found += read_available(reading)
    lines = found.decode().splitlines()
    (notice,) = (line for line in lines if "log lines were dropped" in line)
    kept = len(lines) - 1
    assert 500 < kept < 10_000
    assert f'"lines":{10_050 - kept}' in notice


def test_a_reader_that_has_gone_is_no_trouble(pipe: tuple[int, TextIO]) -> None:
    """Lines are dropped, as on a full disk."""
    reading, stream = pipe
    logger = make_logger("INFO", stream)
    nobody = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nobody, reading)
    os.close(nobody)
    for _ in range(3):
        logger.info("nobody reads this")


def test_files_are_written_whole(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Nobody reads them who could stall."""
    path = tmp_path_factory.mktemp("log") / "log"
    with path.open("w") as stream:
        assert not may_stall(stream)


def test_lines_of_several_processes_stay_whole(pipe: tuple[int, TextIO]) -> None:
    """Also those that have waited: no part of a line is written alone."""
    reading, stream = pipe
    outputs = [UnblockedOutput(stream, str) for _ in range(2)]
    lines = [f"{name}{number:04}{name * 395}\n" for number in range(200) for name in "ab"]
    found = bytearray()
    for number, line in enumerate(lines):
        outputs[number % 2].write(line)
        outputs[number % 2].flush()
    while len(found) < sum(map(len, lines)):
        found += os.read(reading, 4096)
        for output in outputs:
            output.flush()
        outputs.reverse()
    assert sorted(found.decode().splitlines(keepends=True)) == sorted(lines)


class _AlwaysRoom:
    """What ``poll`` says to a process that another one will be faster than."""

    def poll(self, _: int) -> list[tuple[int, int]]:
        return [(1, select.POLLOUT)]


def test_a_pipe_that_another_process_fills_holds_nobody_up(
    pipe: tuple[int, TextIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look and the write; what waits is kept."""
    reading, stream = pipe
    output = UnblockedOutput(stream, str)
    monkeypatch.setattr(output, "_poll", _AlwaysRoom())
    os.set_blocking(stream.fileno(), False)
    with suppress(BlockingIOError):
        while True:
            os.write(stream.fileno(), b"x" * 4096)
    os.set_blocking(stream.fileno(), True)
    output.write("kept\n")
    output.flush()
    assert b"kept" not in read_available(reading)
    output.flush()
    assert read_available(reading) == b"kept\n"
