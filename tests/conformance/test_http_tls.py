"""The listener with TLS: certificates that change, and clients that must have one.

See spec/behaviour#options.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from ff_proxy.errors import StartupError
from ff_proxy.http.limits import Limits
from ff_proxy.http.tls import Tls, TlsFiles
from ff_proxy.runtime.clock import SystemClock
from ff_proxy.telemetry import null_telemetry
from tests.support.certificates import make_certificate
from tests.support.configs import ENVIRONMENT, KEY, config, flag
from tests.support.web import HOST, Response, Site, Wire, connected, message, serving, until

FLAGS = f"/client/env/{ENVIRONMENT}/feature-configs"


Files = tuple[Path, Path]
"""A certificate and its key."""


def secure(server: Files, client_ca: Path | None = None) -> Tls:
    """TLS with these files."""
    return Tls(TlsFiles(*server, client_ca), SystemClock(), null_telemetry())


@pytest.fixture
def server(tmp_path: Path) -> Files:
    """What the proxy shows."""
    return make_certificate(tmp_path)


@pytest.fixture
async def site(server: Files) -> AsyncIterator[Site]:
    """A proxy with a body too large for one buffer."""
    flags = [flag(f"flag-{number}", description="x" * 1000) for number in range(200)]
    async with serving(Site(tls=secure(server)), config(*flags)) as running:
        yield running


@asynccontextmanager
async def secured(site: Site, client: Files | None = None) -> AsyncIterator[Wire]:
    """A connection over TLS that believes any server."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if client is not None:
        context.load_cert_chain(*client)
    reader, writer = await asyncio.open_connection(HOST, site.port, ssl=context)
    try:
        yield Wire(reader, writer)
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def ask(wire: Wire, site: Site, path: str = FLAGS) -> Response:
    """The answer to a GET."""
    await wire.send(message("GET", path, site.bearer()))
    return await wire.response()


async def test_requests_of_all_kinds_are_answered(site: Site) -> None:
    """Hot ones again and again, cold ones, and a stream."""
    async with secured(site) as wire:
        first = await ask(wire, site)
        for _ in range(3):
            again = await ask(wire, site)
            assert (again.status, again.body) == (200, first.body)
        assert (await ask(wire, site, "/health")).status == 200
        await wire.send(message("GET", "/stream", site.bearer() | {"API-Key": KEY}))
        assert (await wire.response()).status == 200
        assert await wire.reader.readexactly(8) == b"3\r\n:\n\n\r\n"


def shown(wire: Wire) -> str:
    """The certificate that the server showed."""
    return ssl.DER_cert_to_PEM_cert(wire.writer.get_extra_info("ssl_object").getpeercert(binary_form=True))


async def test_a_renewed_certificate_is_taken_up(site: Site, server: Files) -> None:
    """Without a restart, and without a moment in which connections fail."""
    tls, (certificate, _) = site.tls, server
    assert tls is not None
    old = certificate.read_text()
    async with secured(site) as before:
        assert shown(before) == old
        make_certificate(certificate.parent)
        tls.reload()
        async with secured(site) as after:
            assert shown(after) == certificate.read_text() != old
            assert (await ask(after, site)).status == 200
        assert (await ask(before, site)).status == 200


async def test_clients_may_have_to_show_a_certificate(tmp_path: Path, server: Files) -> None:
    """One that the given authority signed; no other, and not none."""
    client, stranger = make_certificate(tmp_path, "client"), make_certificate(tmp_path, "stranger")
    tls = secure(server, client[0])
    async with serving(Site(tls=tls), config(flag("a"))) as site:
        async with secured(site, client) as wire:
            assert (await ask(wire, site)).status == 200
        for other in (stranger, None):
            with pytest.raises((OSError, asyncio.IncompleteReadError)):
                async with secured(site, other) as wire:
                    await ask(wire, site)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_an_authority_that_is_taken_out_is_trusted_no_more(
    tmp_path: Path, server: Files, version: ssl.TLSVersion
) -> None:
    """Not by a new connection, and not by one that resumes a session of before."""
    gone, stays = make_certificate(tmp_path, "gone"), make_certificate(tmp_path, "stays")
    authorities = tmp_path / "authorities.pem"
    authorities.write_bytes(gone[0].read_bytes() + stays[0].read_bytes())
    tls = secure(server, authorities)
    async with serving(Site(tls=tls), config(flag("a"))) as site:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.maximum_version = version
        context.load_cert_chain(*gone)
        first = await asyncio.to_thread(_blocking_get, context, site.port, None)
        assert first is not None
        resumed = await asyncio.to_thread(_blocking_get, context, site.port, first)
        assert resumed is not None
        authorities.write_bytes(stays[0].read_bytes())
        tls.reload()
        for session in (None, first, resumed):
            assert await asyncio.to_thread(_blocking_get, context, site.port, session) is None
        async with secured(site, stays) as wire:
            assert (await ask(wire, site)).status == 200


def _blocking_get(
    context: ssl.SSLContext, port: int, session: ssl.SSLSession | None
) -> ssl.SSLSession | None:
    """The session of a connection on which a request was answered; asyncio offers none to resume."""
    try:
        with (
            socket.create_connection((HOST, port), timeout=10) as plain,
            context.wrap_socket(plain, session=session) as wrapped,
        ):
            wrapped.sendall(message("GET", "/health/live"))
            return wrapped.session if wrapped.recv(1000).startswith(b"HTTP/1.1 200") else None
    except OSError:
        return None


async def test_nothing_weak_is_spoken(site: Site) -> None:
    """No CBC with TLS 1.2, and nothing older."""
    for ciphers, good in (("ECDHE+AESGCM", True), ("ECDHE+AES:!AESGCM", False)):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(ciphers)
        answered = await asyncio.to_thread(_blocking_get, context, site.port, None) is not None
        assert answered is good


async def test_plain_text_on_a_tls_port_is_hung_up_on(site: Site) -> None:
    """And others are served on."""
    reader, writer = await asyncio.open_connection(HOST, site.port)
    writer.write(message("GET", "/health"))
    assert b"HTTP" not in await Wire(reader, writer).closed()
    writer.close()
    async with secured(site) as wire:
        assert (await ask(wire, site)).status == 200


def test_files_that_cannot_be_used_stop_the_start(tmp_path: Path, server: Files) -> None:
    """With an error that names them."""
    certificate, key = server
    missing = tmp_path / "missing"
    broken = tmp_path / "broken"
    broken.write_bytes(b"nonsense")
    cases: list[tuple[Path, Path, Path | None]] = [
        (missing, key, None),
        (certificate, broken, None),
        (certificate, make_certificate(tmp_path, "other")[1], None),
        (certificate, key, missing),
        (certificate, key, broken),
    ]
    named = [missing, broken, certificate, missing, broken]
    for (shown_file, key_file, authority), name in zip(cases, named, strict=True):
        with pytest.raises(StartupError, match=name.name):
            secure((shown_file, key_file), authority)


async def test_connections_count_before_their_handshake(server: Files) -> None:
    """Or anybody could open as many as there are files; those that never shake hands are let go."""
    async with serving(
        Site(tls=secure(server), limits=Limits(connections=2, extra_connections=0)), config()
    ) as site:
        async with connected(site), connected(site):
            await until(lambda: site.state.admitted == 2)
            assert not site.state.connections
            async with connected(site) as third:
                assert await third.closed() == b""
        await until(lambda: site.state.admitted == 0)
        async with secured(site) as wire:
            await wire.send(message("GET", "/health"))
            assert (await wire.response()).status == 200


async def test_what_is_no_handshake_ends_the_connection(server: Files) -> None:
    """HTTP without TLS, or nonsense: no trouble of ours."""
    async with serving(Site(tls=secure(server)), config()) as site:
        for sent in (message("GET", "/health"), b"\x00" * 100):
            async with connected(site) as wire:
                await wire.send(sent)
                assert b"HTTP" not in await wire.closed()
        await until(lambda: site.state.admitted == 0)
