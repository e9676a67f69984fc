"""A log whose reader stalls holds nobody up, and loses lines only beyond a limit."""

import json
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


def test_what_waits_at_the_end_is_written_to_a_reader_that_comes_back(pipe: tuple[int, TextIO]) -> None:
    """All of it, and how many lines were dropped before."""
    reading, stream = pipe
    logger = make_logger("INFO", stream)
    for number in range(5000):
        logger.info("line", number=number, text="x" * 100)
    found = bytearray()

    def read() -> None:
        while b"log lines were dropped" not in found:
            found.extend(os.read(reading, 4096))

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    logger.bind(component="x").drain()
    reader.join(60)
    lines = [json.loads(line) for line in found.decode().splitlines()]
    assert [line["number"] for line in lines[:-1]] == list(range(len(lines) - 1))
    assert lines[-1]["lines"] == 5000 - (len(lines) - 1)


@pytest.mark.parametrize("gone", [False, True])
def test_the_end_does_not_wait_for_a_reader_that_stays_away(pipe: tuple[int, TextIO], gone: bool) -> None:
    """Nor for one that has gone."""
    reading, stream = pipe
    logger = make_logger("INFO", stream)
    for number in range(2000):
        logger.info("line", number=number, text="x" * 100)
    if gone:
        nobody = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nobody, reading)
        os.close(nobody)
    logger.drain()


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
