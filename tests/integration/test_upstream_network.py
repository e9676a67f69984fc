"""The network seam over real sockets: outbound proxies, certificates, and servers that misbehave."""

import asyncio
import gzip
import ssl
from pathlib import Path

import pytest

from ff_proxy.errors import UpstreamMalformed, UpstreamUnavailable
from ff_proxy.upstream.transport import Request
from tests.support.certificates import make_certificate
from tests.support.network import ForwardProxy, hello, make_transport, server

PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is set on this machine is none of the tests' business."""
    for name in (*PROXY_VARIABLES, "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def tls(tmp_path: Path) -> tuple[ssl.SSLContext, Path]:
    """A server's certificate for loopback, and the file to trust."""
    certificate, key = make_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context, certificate


async def ask(url: str) -> bytes:
    """One request through a transport made now, from the environment as it is now."""
    async with make_transport("test") as transport:
        return (await transport.send(Request("GET", url, "/x", deadline=10.0))).body


async def test_unknown_certificate(tls: tuple[ssl.SSLContext, Path]) -> None:
    """Refused, and the message says what to set."""
    async with server(hello, tls[0]) as port:
        with pytest.raises(UpstreamUnavailable, match="SSL_CERT_FILE"):
            await ask(f"https://127.0.0.1:{port}/x")


async def test_the_issuer_of_an_unknown_certificate_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Straight and through an outbound proxy; and it is asked for once, not by everybody who fails."""
    certificate, key = make_certificate(tmp_path, subject="/O=Example Ltd/CN=Inspection CA")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    heads: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()

    proxy = ForwardProxy()
    async with server(talk, context) as port, server(proxy.talk) as proxy_port:
        for variables in ({}, {"HTTPS_PROXY": f"http://user:secret@127.0.0.1:{proxy_port}"}):
            for name, text in variables.items():
                monkeypatch.setenv(name, text)
            request = Request("GET", f"https://127.0.0.1:{port}/x", "/x", headers={"x-api-key": "secret"})
            heads.clear()
            async with make_transport() as transport:
                for _ in range(3):
                    with pytest.raises(UpstreamUnavailable) as caught:
                        await transport.send(request)
                    said = str(caught.value)
                    assert f"GET https://127.0.0.1:{port}/x: " in said
                    assert "signed by Inspection CA (Example Ltd)" in said
                    assert (f"http://127.0.0.1:{proxy_port}" in said) is bool(variables)
                    assert "secret" not in said
            (head,) = heads
            assert b"secret" not in head


@pytest.mark.parametrize("status", ["403 Forbidden", "407 Proxy Authentication Required", "503 Busy"])
async def test_a_proxy_that_refuses_is_not_taken_for_harness(
    status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A 403 of its own says nothing of a key."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nno".encode())
        await writer.drain()

    async with server(talk) as proxy_port:
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:secret@127.0.0.1:{proxy_port}")
        with pytest.raises(UpstreamUnavailable) as caught:
            await ask("https://saas.test/x")
    assert f"the outbound proxy http://127.0.0.1:{proxy_port} " in str(caught.value)
    assert "secret" not in str(caught.value)


async def test_an_outbound_proxy_may_speak_tls_itself(
    tls: tuple[ssl.SSLContext, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And is believed by the same authorities."""
    proxy = ForwardProxy()
    async with server(hello) as port, server(proxy.talk, tls[0]) as proxy_port:
        monkeypatch.setenv("HTTP_PROXY", f"https://127.0.0.1:{proxy_port}")
        with pytest.raises(UpstreamUnavailable, match="not trusted"):
            await ask(f"http://127.0.0.1:{port}/x")
        monkeypatch.setenv("SSL_CERT_FILE", str(tls[1]))
        assert await ask(f"http://127.0.0.1:{port}/x") == b"proxied"


async def test_ssl_cert_file(tls: tuple[ssl.SSLContext, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Trusted."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tls[1]))
    async with server(hello, tls[0]) as port:
        assert await ask(f"https://127.0.0.1:{port}/x") == b"hello"


async def test_https_proxy(tls: tuple[ssl.SSLContext, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """HTTPS goes through a tunnel, TLS end to end, with the proxy's own credentials."""
    proxy = ForwardProxy()
    monkeypatch.setenv("SSL_CERT_FILE", str(tls[1]))
    async with server(hello, tls[0]) as port, server(proxy.talk) as proxy_port:
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:pw@127.0.0.1:{proxy_port}")
        assert await ask(f"https://127.0.0.1:{port}/x") == b"hello"
        assert proxy.asked == [f"127.0.0.1:{port}"]
    assert "proxy-authorization: basic dXNlcjpwdw==" in proxy.heads[0].replace("Basic", "basic").replace(
        "Proxy-Authorization", "proxy-authorization"
    )


async def test_https_proxy_carries_streams(
    tls: tuple[ssl.SSLContext, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chunk by chunk, as they are sent."""
    go = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n:\n\n")
        await go.wait()
        writer.write(b"data: 1\n\n")
        await writer.drain()

    proxy = ForwardProxy()
    monkeypatch.setenv("SSL_CERT_FILE", str(tls[1]))
    async with server(talk, tls[0]) as port, server(proxy.talk) as proxy_port:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy_port}")
        request = Request("GET", f"https://127.0.0.1:{port}/stream", "/stream")
        async with make_transport("test") as transport, transport.open(request, 5.0) as stream:
            chunks = stream.chunks()
            assert await anext(chunks) == b":\n\n"
            go.set()
            assert await anext(chunks) == b"data: 1\n\n"
        assert proxy.asked == [f"127.0.0.1:{port}"]


@pytest.mark.parametrize("value", ["127.0.0.1", "localhost,127.0.0.0/8", "*", "127.0.0.1,example.test"])
async def test_no_proxy(
    tls: tuple[ssl.SSLContext, Path], monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    """Goes straight."""
    proxy = ForwardProxy()
    monkeypatch.setenv("SSL_CERT_FILE", str(tls[1]))
    async with server(hello, tls[0]) as port, server(proxy.talk) as proxy_port:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy_port}")
        monkeypatch.setenv("NO_PROXY", value)
        assert await ask(f"https://127.0.0.1:{port}/x") == b"hello"
    assert proxy.asked == []


async def test_http_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain HTTP is asked of the proxy itself."""
    proxy = ForwardProxy()
    async with server(proxy.talk) as proxy_port:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy_port}")
        assert await ask("http://saas.test/x") == b"proxied"
    assert proxy.asked == ["http://saas.test/x"]


async def test_proxy_that_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unavailable, and the message holds no password."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()

    async with server(talk) as proxy_port:
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:secret@127.0.0.1:{proxy_port}")
        with pytest.raises(UpstreamUnavailable, match="407") as caught:
            await ask("https://saas.test/x")
    assert "secret" not in str(caught.value)


async def test_nobody_listens() -> None:
    """Connection refused."""
    async with server(hello) as port:
        pass
    with pytest.raises(UpstreamUnavailable):
        await ask(f"http://127.0.0.1:{port}/x")


async def test_answer_that_drips() -> None:
    """The deadline is for the whole answer, not for each byte."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while True:
            writer.write(b"x")
            await asyncio.sleep(0.02)

    async with server(talk) as port, make_transport("test") as transport:
        with pytest.raises(UpstreamUnavailable, match="no answer in time"):
            await transport.send(Request("GET", f"http://127.0.0.1:{port}/x", "/x", deadline=0.3))


async def test_no_head() -> None:
    """A server that accepts and says nothing, for calls and for streams."""

    async def talk(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    async with server(talk) as port, make_transport("test") as transport:
        request = Request("GET", f"http://127.0.0.1:{port}/x", "/x", deadline=0.2)
        with pytest.raises(UpstreamUnavailable):
            await transport.send(request)
        with pytest.raises(UpstreamUnavailable):
            await transport.open(request, 60.0).__aenter__()


async def test_silent_stream() -> None:
    """Ends after its idle time."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n:\n\n")
        await reader.read()

    async with server(talk) as port, make_transport("test") as transport:
        request = Request("GET", f"http://127.0.0.1:{port}/x", "/x")
        async with transport.open(request, 0.2) as stream:
            chunks = stream.chunks()
            assert await anext(chunks) == b":\n\n"
            with pytest.raises(UpstreamUnavailable):
                await anext(chunks)


async def test_body_that_unpacks_without_end() -> None:
    """The limit is for what it unpacks to."""
    bomb = gzip.compress(b"\0" * 50_000_000)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(bomb)}\r\n\r\n"
        writer.write(head.encode() + bomb)
        await writer.drain()

    async with server(talk) as port, make_transport("test") as transport:
        with pytest.raises(UpstreamMalformed, match="larger than"):
            await transport.send(Request("GET", f"http://127.0.0.1:{port}/x", "/x", limit=1_000_000))


async def test_body_cut_off() -> None:
    """Half an answer is none."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[1,2]")
        await writer.drain()

    async with server(talk) as port:
        with pytest.raises(UpstreamUnavailable):
            await ask(f"http://127.0.0.1:{port}/x")


async def test_streams_do_not_starve_calls() -> None:
    """More environments than a connection pool usually holds, each with its stream open."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if b"/stream" not in head:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
        else:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n:\n\n")
        await reader.read()

    async with server(talk) as port, make_transport("test") as transport:
        done = asyncio.Event()
        opened = asyncio.Semaphore(0)

        async def follow() -> None:
            request = Request("GET", f"http://127.0.0.1:{port}/stream", "/stream")
            async with transport.open(request, 20.0):
                opened.release()
                await done.wait()

        async with asyncio.TaskGroup() as tasks:
            for _ in range(150):
                tasks.create_task(follow())
            for _ in range(150):
                await opened.acquire()
            reply = await transport.send(Request("GET", f"http://127.0.0.1:{port}/x", "/x", deadline=5.0))
            assert reply.body == b"hello"
            done.set()


async def test_paths_are_sent_as_they_are() -> None:
    """Encoded once: a slash in an identifier stays %2F, dots stay what they are."""
    heads: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()

    async with server(talk) as port, make_transport("test") as transport:
        for path in ("/a%2Fb", "/%2E%2E", "/c%20d%25"):
            await transport.send(
                Request("GET", f"http://127.0.0.1:{port}{path}", "/x", query={"cluster": "a&b"})
            )
    assert [head.split(b"\r\n")[0].decode() for head in heads] == [
        f"GET {path}?cluster=a%26b HTTP/1.1" for path in ("/a%2Fb", "/%2E%2E", "/c%20d%25")
    ]
