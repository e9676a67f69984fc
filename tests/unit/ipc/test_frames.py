"""Frames arrive whole and in order, however a socket cuts them."""

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ff_proxy.errors import StoreUnavailable
from ff_proxy.ipc.frames import MAX_FRAME_BYTES, FrameConnection
from ff_proxy.runtime.event_loop import run


class Transport(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.reading: list[bool] = []
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(bytes(data))

    def pause_reading(self) -> None:
        self.reading.append(False)

    def resume_reading(self) -> None:
        self.reading.append(True)

    def close(self) -> None:
        self.closed = True


def _connected() -> tuple[FrameConnection, Transport]:
    frames, transport = FrameConnection(), Transport()
    frames.connection_made(transport)
    return frames, transport


@given(st.lists(st.binary(max_size=300), max_size=30), st.lists(st.integers(1, 200), min_size=1, max_size=30))
def test_every_message_arrives_however_the_bytes_are_cut(sent: list[bytes], cuts: list[int]) -> None:
    """One write for all that is sent in a turn, and reads of any size."""

    async def check() -> None:
        near, transport = _connected()
        for message in sent:
            near.send(message)
        await asyncio.sleep(0)
        assert len(transport.written) == bool(sent)
        far, _ = _connected()
        stream = b"".join(transport.written)
        turn = 0
        while stream:
            cut = cuts[turn % len(cuts)]
            far.data_received(stream[:cut])
            stream, turn = stream[cut:], turn + 1
        assert [await far.receive() for _ in sent] == sent
        far.connection_lost(None)
        with pytest.raises(StoreUnavailable, match="closed"):
            await far.receive()

    asyncio.run(check())


async def test_what_arrived_before_the_end_is_still_received() -> None:
    """The answer to a call may be the last thing that a process sends."""
    frames, _ = _connected()
    frames.data_received(b"\0\0\0\2ok")
    frames.connection_lost(ConnectionResetError())
    assert await frames.receive() == b"ok"
    with pytest.raises(StoreUnavailable):
        await frames.receive()


async def test_a_length_that_cannot_be_ends_the_connection() -> None:
    """Nothing is kept of it."""
    frames, transport = _connected()
    frames.data_received((MAX_FRAME_BYTES + 1).to_bytes(4, "big"))
    assert transport.closed
    with pytest.raises(StoreUnavailable):
        await frames.receive()


async def test_reading_pauses_while_nobody_takes_what_came() -> None:
    """And goes on when all of it is taken."""
    frames, transport = _connected()
    frames.data_received(b"\0\0\0\1a" * 1000)
    assert transport.reading == [False]
    for _ in range(1000):
        await frames.receive()
    waiting = asyncio.ensure_future(frames.receive())
    await asyncio.sleep(0)
    assert transport.reading == [False, True]
    frames.data_received(b"\0\0\0\1b")
    assert await waiting == b"b"


async def test_who_sends_waits_for_a_slow_reader_but_not_for_one_that_is_gone() -> None:
    """As the transport says."""
    frames, _ = _connected()
    await frames.drain()
    frames.pause_writing()
    waiting = asyncio.ensure_future(frames.drain())
    await asyncio.sleep(0)
    assert not waiting.done()
    frames.resume_writing()
    await waiting
    frames.pause_writing()
    waiting = asyncio.ensure_future(frames.drain())
    await asyncio.sleep(0)
    frames.connection_lost(None)
    await waiting


def test_what_is_sent_to_a_process_that_is_gone_is_dropped(tmp_path: Path) -> None:
    """On the loop of production, whose transports accept nothing then."""

    async def check() -> None:
        loop = asyncio.get_running_loop()
        accepted: asyncio.Future[FrameConnection] = loop.create_future()

        def connected() -> FrameConnection:
            frames = FrameConnection()
            accepted.set_result(frames)
            return frames

        path = str(tmp_path / "socket")
        server = await loop.create_unix_server(connected, path)
        transport, _ = await loop.create_unix_connection(FrameConnection, path)
        frames = await accepted
        transport.abort()
        try:
            for _ in range(20):
                frames.send(b"lost")
                await asyncio.sleep(0)
            with pytest.raises(StoreUnavailable):
                await frames.receive()
            frames.send(b"lost too")
            await frames.drain()
            frames.close()
        finally:
            server.close()

    run(check())
