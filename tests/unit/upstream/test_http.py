"""The seam to the network: what goes out, and what foreign errors become."""

import asyncio
import ssl
from collections.abc import AsyncIterator

import httpx2
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ff_proxy.errors import StartupError, UpstreamError, UpstreamMalformed, UpstreamUnavailable
from ff_proxy.upstream.http import HttpTransport, translate_errors
from ff_proxy.upstream.outbound_proxy import OutboundProxies
from ff_proxy.upstream.transport import Request, origin
from tests.support.foreign_errors import FOREIGN, made
from tests.support.network import make_transport

URL = "https://user:secret@saas.test:8443/client/auth"
REQUEST = Request("POST", URL, "/client/auth", query={"cluster": "2"}, headers={"X": "y"}, body=b"{}")


class Backend(httpx2.AsyncBaseTransport):
    """Answers as a test says, without a socket."""

    def __init__(self, answer: httpx2.Response | Exception) -> None:
        self.answer = answer
        self.requests: list[httpx2.Request] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Body(httpx2.AsyncByteStream):
    """A body in parts, which may break."""

    def __init__(self, *parts: bytes | Exception) -> None:
        self.parts = parts
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self.parts:
            if isinstance(part, Exception):
                raise part
            yield part

    async def aclose(self) -> None:
        self.closed = True


async def test_request_goes_out_whole() -> None:
    """Method, URL, query, headers, body and agent."""
    backend = Backend(httpx2.Response(200, json={"a": 1}, headers={"X-Answer": "Yes"}))
    async with make_transport("ff-proxy/9", backend) as transport:
        reply = await transport.send(REQUEST)
    (sent,) = backend.requests
    assert (sent.method, str(sent.url)) == ("POST", f"{URL}?cluster=2")
    assert (sent.headers["x"], sent.headers["user-agent"]) == ("y", "ff-proxy/9")
    assert sent.content == b"{}"
    assert (reply.status, reply.headers["x-answer"], reply.body) == (200, "Yes", b'{"a":1}')


async def test_redirects_are_not_followed() -> None:
    """Credentials in headers must not be sent elsewhere."""
    backend = Backend(httpx2.Response(302, headers={"Location": "http://elsewhere.test/"}))
    async with make_transport("a", backend) as transport:
        assert (await transport.send(REQUEST)).status == 302
    assert len(backend.requests) == 1


async def test_no_cookie_is_kept() -> None:
    """A load balancer cannot pin us to one of its servers."""
    backend = Backend(httpx2.Response(200, headers={"Set-Cookie": "pin=7; Path=/"}))
    async with make_transport("a", backend) as transport:
        await transport.send(REQUEST)
        await transport.send(REQUEST)
    assert all("cookie" not in request.headers for request in backend.requests)


@pytest.mark.parametrize(
    "error",
    [
        httpx2.ConnectError("refused"),
        httpx2.ConnectTimeout("slow"),
        httpx2.ReadTimeout(""),
        httpx2.PoolTimeout(""),
        httpx2.RemoteProtocolError("half"),
        httpx2.ProxyError("407"),
        httpx2.UnsupportedProtocol("gopher"),
        httpx2.InvalidURL("bad"),
        ssl.SSLError("bad"),
        ConnectionResetError(),
        TimeoutError(),
    ],
)
async def test_temporary_failures(error: Exception) -> None:
    """Every network failure is one of our errors, without credentials and query."""
    async with make_transport("a", Backend(error)) as transport:
        with pytest.raises(UpstreamUnavailable) as caught:
            await transport.send(REQUEST)
    assert str(caught.value).startswith("POST https://saas.test:8443/client/auth: ")
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is error


async def test_unsendable_header_is_malformed() -> None:
    """A token that is no header text is not worth a retry."""
    async with make_transport("a", Backend(httpx2.Response(200))) as transport:
        with pytest.raises(UpstreamMalformed):
            await transport.send(
                Request("GET", "http://h/", "/", headers={"Authorization": "Bearer ü\ud800"})
            )


async def test_broken_encoding_is_malformed() -> None:
    """Such as gzip that is none."""
    response = httpx2.Response(200, headers={"content-encoding": "gzip"}, stream=Body(b"no gzip"))
    async with make_transport("a", Backend(response)) as transport:
        with pytest.raises(UpstreamMalformed):
            await transport.send(REQUEST)


async def test_large_body_is_given_up_and_closed() -> None:
    """It is not read to its end."""
    body = Body(b"x" * 60, b"x" * 60, AssertionError("read on"))
    async with make_transport("a", Backend(httpx2.Response(200, stream=body))) as transport:
        with pytest.raises(UpstreamMalformed, match="larger than 100 bytes"):
            await transport.send(Request("GET", "http://h/", "/x", limit=100))
    assert body.closed


async def test_broken_body_is_unavailable() -> None:
    """Half an answer is none."""
    body = Body(b"x", httpx2.ReadError("reset"))
    async with make_transport("a", Backend(httpx2.Response(200, stream=body))) as transport:
        with pytest.raises(UpstreamUnavailable):
            await transport.send(REQUEST)


async def test_stream_yields_what_arrives_and_closes() -> None:
    """The body is read while it comes, and let go when the context ends."""
    body = Body(b"a", b"b", AssertionError("read on"))
    async with make_transport("a", Backend(httpx2.Response(200, stream=body))) as transport:
        async with transport.open(REQUEST, 5.0) as stream:
            chunks = stream.chunks()
            assert stream.status == 200
            assert [await anext(chunks), await anext(chunks)] == [b"a", b"b"]
        assert body.closed


async def test_silence_ends_a_stream() -> None:
    """The HTTP client's own timeout between reads, as our error."""
    body = Body(b"a", httpx2.ReadTimeout(""))
    backend = Backend(httpx2.Response(200, stream=body))
    async with make_transport("a", backend) as transport, transport.open(REQUEST, 5.0) as stream:
        chunks = stream.chunks()
        await anext(chunks)
        with pytest.raises(UpstreamUnavailable):
            await anext(chunks)


async def test_idle_time_is_the_read_timeout() -> None:
    """What the socket is watched by."""
    backend = Backend(httpx2.Response(200))
    async with make_transport("a", backend) as transport, transport.open(REQUEST, 45.0):
        pass
    assert backend.requests[0].extensions["timeout"]["read"] == 45.0


@pytest.mark.parametrize("address", ["ftp://user:secret@proxy.test", "http://user:secret@1.2.3.999"])
async def test_unusable_proxy_stops_the_start(address: str) -> None:
    """Also one that only the client finds out; the message names the variables and not the password."""
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with pytest.raises(StartupError, match="HTTPS_PROXY") as caught:
        await HttpTransport("a", trust, OutboundProxies(https=address)).__aenter__()
    assert "secret" not in str(caught.value)


@given(kind=st.sampled_from(FOREIGN))
@settings(deadline=None)
def test_whatever_the_client_raises_becomes_ours(kind: type[BaseException]) -> None:
    """Also what no version of it has raised so far; a text that may hold anything is not passed on."""
    error = made(kind)
    assume(error is not None)
    assert error is not None
    with pytest.raises(UpstreamError) as caught, translate_errors(REQUEST):
        raise error
    assert str(REQUEST) in str(caught.value)
    assert caught.value.__cause__ is error


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:pw@h.test:8443/path?q=1", "https://h.test:8443"),
        ("http://h.test", "http://h.test"),
        ("http://[::1]:80/x", "http://[::1]:80"),
        ("http://h.test:port/", "http://h.test"),
        ("", "://"),
    ],
)
def test_origin(url: str, shown: str) -> None:
    """What may be shown of a URL."""
    assert origin(url) == shown


def test_request_hides_headers_and_body() -> None:
    """A request may be logged."""
    assert "secret-token" not in repr(
        Request("GET", "http://h/", "/", headers={"A": "secret-token"}, body=b"k")
    )


@pytest.mark.parametrize("sends", [True, False])
async def test_it_is_known_whether_a_failed_request_may_have_been_carried_out(*, sends: bool) -> None:
    """A server that reads it and hangs up may have done so; one that cannot be reached has not."""

    async def read_and_leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"{}")
        writer.close()

    async with await asyncio.start_server(read_and_leave, "127.0.0.1") as server:
        port = server.sockets[0].getsockname()[1]
        if not sends:
            server.close()
            await server.wait_closed()
        request = Request("POST", f"http://127.0.0.1:{port}/metrics/e", "/metrics/{env}", body=b"{}")
        async with make_transport("a") as transport:
            with pytest.raises(UpstreamUnavailable) as failure:
                await transport.send(request)
    assert failure.value.perhaps_done is sends


@pytest.mark.parametrize(
    ("error", "perhaps_done"),
    [
        (httpx2.ConnectTimeout("t"), False),
        (httpx2.ConnectError("c"), False),
        (httpx2.PoolTimeout("p"), False),
        (httpx2.ProxyError("407"), False),
        (httpx2.ReadTimeout("t"), True),
        (httpx2.ReadError("r"), True),
        (httpx2.WriteError("w"), True),
        (httpx2.RemoteProtocolError("half an answer"), True),
    ],
)
async def test_errors_before_sending_leave_no_doubt(error: Exception, *, perhaps_done: bool) -> None:
    """The client's own errors say how far it came."""
    async with make_transport("a", Backend(error)) as transport:
        with pytest.raises(UpstreamError) as failure:
            await transport.send(REQUEST)
    assert failure.value.perhaps_done is perhaps_done
