"""Streams under TLS, where the transport's buffer works in another way."""

import asyncio
import ssl
from pathlib import Path

import pytest

from ff_proxy.streams.sender import Intervals
from tests.support.certificates import make_certificate
from tests.support.configs import config, flag
from tests.support.stream_server import stream_server
from tests.support.streams import HEAD, HEARTBEAT, FakeSnapshots, fake_snapshots


@pytest.fixture
def contexts(tmp_path: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's context and one of a client that trusts it."""
    certificate, key = make_certificate(tmp_path)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(certificate, key)
    return server, ssl.create_default_context(cafile=str(certificate))


@pytest.fixture
def snapshots() -> FakeSnapshots:
    """An environment with a flag."""
    return fake_snapshots(flag("a"))


async def test_a_stream_under_tls_is_byte_exact(
    snapshots: FakeSnapshots, contexts: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    """Head, heartbeat, paced events and the end."""
    async with stream_server(snapshots, Intervals(heartbeat=0.3), secure=contexts[0]) as server:
        server.trust(contexts[1])
        async with await server.connect() as client:
            assert await client.reader.readexactly(len(HEAD + HEARTBEAT)) == HEAD + HEARTBEAT
            snapshots.put(config(*(flag(f"flag-{number:02}") for number in range(50))))
            told = {(await client.event())["identifier"] for _ in range(51)}
            assert told == {"a", *(f"flag-{number:02}" for number in range(50))}
            assert await client.record() == b":\n\n"
            await server.hub.drain(0.05)
            assert (await client.reader.read()).endswith(b"0\r\n\r\n")


async def test_a_stalled_reader_under_tls_is_cut_off(
    snapshots: FakeSnapshots, contexts: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    """Below TLS there is one more buffer; when it is full the stream counts as stuck."""
    pace = Intervals(slot=0.001, patience=0.5)
    async with stream_server(snapshots, pace, secure=contexts[0], send_buffer=4096) as server:
        server.trust(contexts[1])
        async with await server.connect(receive_buffer=2048):
            async with asyncio.timeout(25):
                version = 1
                while server.closings == 0:
                    version += 1
                    snapshots.put(config(flag("x" * 1000, version=version)))
                    await asyncio.sleep(0.002)
        assert 'reason="stalled"} 1.0' in server.telemetry.exposition().decode()
