"""Open streams over real sockets, byte by byte."""

import asyncio
import gc
import time
from collections.abc import Callable

import pytest

from ff_proxy.model.keys import EnvironmentId, hash_key
from ff_proxy.streams.framing import WRITE_LIMIT
from ff_proxy.streams.sender import Intervals
from ff_proxy.streams.stream import Stream
from tests.support.configs import KEY, config, flag
from tests.support.resets import reset
from tests.support.stream_server import StreamServer, stream_server
from tests.support.streams import HEAD, HEARTBEAT, FakeSnapshots, StreamClient, fake_snapshots

OTHER = EnvironmentId("00000000-0000-0000-0000-00000000beef")
BIG = "x" * 900


@pytest.fixture
def snapshots() -> FakeSnapshots:
    """An environment with two flags."""
    return fake_snapshots(flag("a"), flag("b"))


async def until(true: Callable[[], bool], within: float = 10.0) -> None:
    """Wait until something has come true."""
    async with asyncio.timeout(within):
        while not true():  # noqa: ASYNC110  (what is waited for is in the kernel's hands)
            await asyncio.sleep(0.01)


def buffered(stream: Stream) -> int:
    """Bytes that wait in a stream's transport."""
    return stream._transport.get_write_buffer_size()


async def opened(server: StreamServer, *args: object, **options: object) -> StreamClient:
    """A stream whose head and first heartbeat have been read."""
    client = await server.connect(*args, **options)  # type: ignore[arg-type]  # passed on as given
    assert await client.head() == HEAD
    assert await client.record() == b":\n\n"
    return client


async def test_head_heartbeat_and_event_are_byte_exact(snapshots: FakeSnapshots) -> None:
    """The whole stream as it is on the wire: one chunk per record, nothing else."""
    async with stream_server(snapshots) as server, await server.connect() as client:
        assert await client.reader.readexactly(len(HEAD + HEARTBEAT)) == HEAD + HEARTBEAT
        snapshots.put(config(flag("a", version=2)))
        expected = (
            b'4f\r\nevent: *\ndata: {"event":"patch","domain":"flag","identifier":"a","version":2}\n\n\r\n'
            b'50\r\nevent: *\ndata: {"event":"delete","domain":"flag","identifier":"b","version":1}\n\n\r\n'
        )
        assert await client.reader.readexactly(len(expected)) == expected
        await server.hub.drain(0)
        assert await client.reader.read() == b"0\r\n\r\n"


async def test_the_first_heartbeat_does_not_wait(snapshots: FakeSnapshots) -> None:
    """It comes with the head; NET gives up without headers, GO polls until the first record."""
    async with stream_server(snapshots, Intervals(heartbeat=1000)) as server:
        start = time.monotonic()
        async with await opened(server):
            assert time.monotonic() - start < 10


async def test_heartbeats_keep_coming_and_never_share_a_segment_with_an_event(
    snapshots: FakeSnapshots,
) -> None:
    """Each read of the socket sees a heartbeat or events, as NODE needs it."""
    async with stream_server(snapshots, Intervals(heartbeat=0.2)) as server, await opened(server) as client:
        beats = events = 0
        for version in range(2, 40):
            snapshots.put(config(flag("a", version=version), flag("b")))
            data = await client.reader.read(2048)
            if data == HEARTBEAT:
                beats += 1
            else:
                assert HEARTBEAT not in data
                events += 1
        assert beats >= 2
        assert events >= 10


async def test_a_new_stream_is_told_what_it_missed(snapshots: FakeSnapshots) -> None:
    """Replay after the first heartbeat, in a segment of its own."""
    async with stream_server(snapshots) as server:
        snapshots.put(config(flag("a", version=2), flag("b")))
        async with await server.connect() as client:
            assert await client.reader.read(2048) == HEAD + HEARTBEAT
            assert (await client.event())["version"] == 2


async def test_a_burst_reaches_everyone_completely(snapshots: FakeSnapshots) -> None:
    """Ten changes of ten flags, one after the other, to 200 streams: none lost, each in order."""
    names = [f"flag-{number}" for number in range(10)]
    async with stream_server(snapshots) as server:
        clients = [await opened(server) for _ in range(200)]
        for number in range(1, 11):
            snapshots.put(config(flag("a"), flag("b"), *map(flag, names[:number])))
        for client in clients:
            async with client:
                assert [(await client.event())["identifier"] for _ in names] == names


async def test_a_stalled_reader_is_cut_off_and_others_do_not_notice(snapshots: FakeSnapshots) -> None:
    """Its memory is bounded by one write; the others hear of everything at once."""
    pace = Intervals(patience=1.0)
    async with stream_server(snapshots, pace, send_buffer=4096) as server:
        stalled = await server.connect(receive_buffer=2048)
        async with stalled, await opened(server) as healthy:
            version = 1
            while server.closings == 0:
                version += 1
                assert version < 400, "the stalled stream is still open"
                snapshots.put(config(flag(BIG, version=version)))
                assert (await healthy.event())["version"] in {1, version}
                assert all(buffered(stream) <= WRITE_LIMIT for stream in server.hub._sender._stuck)
        assert 'reason="stalled"} 1.0' in server.telemetry.exposition().decode()


async def test_a_slow_reader_catches_up_with_the_newest(snapshots: FakeSnapshots) -> None:
    """It misses intermediate versions, never the last one."""
    version = 1
    async with (
        stream_server(snapshots, send_buffer=4096) as server,
        await opened(server, receive_buffer=2048) as slow,
    ):
        while not server.hub._sender._stuck:
            version += 1
            snapshots.put(config(flag("a", version=version), flag(BIG, version=version)))
            await asyncio.sleep(0.01)
        snapshots.put(config(flag("a", version=version + 1)))
        last: dict[str, tuple[str, int]] = {}
        while last.get("a") != ("patch", version + 1) or last.get(BIG) != ("delete", version):
            event = await slow.event()
            last[event["identifier"]] = (event["event"], event["version"])


async def test_a_client_that_leaves_is_noticed(snapshots: FakeSnapshots) -> None:
    """By a clean end, by half an end and by a reset, without anything being sent."""
    async with stream_server(snapshots) as server:
        clean, half, gone = [await opened(server) for _ in range(3)]
        clean.writer.close()
        half.writer.write_eof()
        reset(gone.writer)
        await until(lambda: server.closings == 3)
        assert len(server.hub) == 0
        assert await half.reader.read() == b""
        half.writer.close()


async def test_what_a_client_says_is_ignored_until_it_says_too_much(snapshots: FakeSnapshots) -> None:
    """64 KiB, then the connection is closed."""
    async with stream_server(snapshots) as server, await opened(server) as client:
        client.writer.write(b"GET / HTTP/1.1\r\n\r\n")
        snapshots.put(config(flag("a", version=2), flag("b")))
        assert (await client.event())["version"] == 2
        client.writer.write(b"x" * 70_000)
        await until(lambda: server.closings == 1)


async def test_a_revoked_key_ends_its_streams_cleanly(snapshots: FakeSnapshots) -> None:
    """The terminating chunk and the end of the connection; other keys' streams go on."""
    snapshots.put(config(flag("a"), keys=(KEY, "second")))
    async with stream_server(snapshots) as server:
        kept = await opened(server, key=hash_key(KEY))
        gone = await opened(server, key=hash_key("second"))
        async with kept, gone:
            snapshots.put(config(flag("a"), keys=(KEY,)))
            assert await gone.reader.read() == b"0\r\n\r\n"
            snapshots.put(config(flag("a", version=2), keys=(KEY,)))
            assert (await kept.event())["version"] == 2


async def test_environments_do_not_hear_of_each_other(snapshots: FakeSnapshots) -> None:
    """Neither live nor in replay."""
    snapshots.put(config(flag("secret"), environment=OTHER, keys=("other",)))
    async with (
        stream_server(snapshots) as server,
        await opened(server) as here,
        await opened(server, OTHER) as there,
    ):
        snapshots.put(config(flag("secret", version=2), environment=OTHER, keys=("other",)))
        assert (await there.event())["identifier"] == "secret"
        async with await opened(server) as late:
            snapshots.put(config(flag("a", version=2), flag("b")))
            assert (await late.event())["identifier"] == "a"
            assert (await here.event())["identifier"] == "a"


async def test_a_drain_ends_streams_one_by_one_within_its_time(snapshots: FakeSnapshots) -> None:
    """Each with a terminating chunk."""
    async with stream_server(snapshots) as server:
        clients = [await opened(server) for _ in range(50)]
        ends: list[float] = []

        async def wait(client: StreamClient) -> None:
            async with client:
                assert (await client.reader.read()).endswith(b"0\r\n\r\n")
                ends.append(time.monotonic())

        start = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for client in clients:
                group.create_task(wait(client))
            await server.hub.drain(1.0)
            assert len(server.hub) == 0
        taken = time.monotonic() - start
        assert 0.9 < taken < 10
        assert sum(end - start < taken / 2 for end in ends) in range(5, 46)


async def test_a_thousand_streams_come_and_go_without_a_trace(snapshots: FakeSnapshots) -> None:
    """No stream object outlives its connection, however it ended."""
    async with stream_server(snapshots) as server:
        for number in range(10):
            clients = [await opened(server) for _ in range(100)]
            snapshots.put(config(flag("a", version=2 + number), flag("b")))
            for client in clients[::2]:
                client.writer.close()
            for client in clients[1::2]:
                assert (await client.event())["identifier"] == "a"
                client.writer.transport.abort()
            await until(lambda: len(server.hub) == 0)
        assert server.closings == 1000
        sender = server.hub._sender
        await until(lambda: not sender._waiting)
        gc.collect()
        assert not any(isinstance(thing, Stream) for thing in gc.get_objects())
