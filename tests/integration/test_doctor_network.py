"""What doctor says of ways to Harness that something is wrong with, over real sockets."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from email.utils import formatdate
from pathlib import Path

import pytest

from ff_proxy.commands.doctor import harness
from ff_proxy.commands.doctor.findings import Finding, Outcome
from ff_proxy.commands.doctor.harness import network_checks
from ff_proxy.commands.doctor.machine import check_trust
from ff_proxy.tls.trust import client_trust
from ff_proxy.upstream.http import HttpTransport
from ff_proxy.upstream.outbound_proxy import outbound_proxies
from tests.support.certificates import make_certificate
from tests.support.doctor import findings_of, found_by, the_trouble, trouble
from tests.support.network import ForwardProxy, hello, server
from tests.support.ports import free_port

NOW = 1_800_000_000.0


async def examined(*urls: str, environ: Mapping[str, str] | None = None, wall: float = NOW) -> list[Finding]:
    """What doctor finds on the way to ``urls``, which stand for client-service and so on."""
    variables = environ or {}
    proxies, _ = outbound_proxies(variables)
    async with HttpTransport("test", client_trust(variables).context, proxies) as transport:
        named = [(f"service-{number}", url) for number, url in enumerate(urls, 1)]
        return await findings_of(*network_checks(named, transport, proxies, lambda: wall))


async def dated(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An answer that says what time it is."""
    await reader.readuntil(b"\r\n\r\n")
    date = formatdate(NOW, usegmt=True)
    writer.write(f"HTTP/1.1 404 Not Found\r\nDate: {date}\r\nContent-Length: 0\r\n\r\n".encode())
    await writer.drain()


async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    """Accepts, and says nothing."""
    await reader.read()


@asynccontextmanager
async def refusing(answer: bytes) -> AsyncIterator[int]:
    """An outbound proxy that answers every request with ``answer``."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()

    async with server(talk) as port:
        yield port


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Path]:
    """A server's certificate for loopback, and the file to trust."""
    directory = tmp_path_factory.mktemp("tls")
    certificate, key = make_certificate(directory, subject="/O=Example Ltd/CN=Inspection CA", days=3650)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context, certificate


async def test_a_good_way_is_told_once_for_each_server() -> None:
    """With the options that lead there."""
    async with server(dated) as port:
        found = await examined(f"http://127.0.0.1:{port}/a", f"http://127.0.0.1:{port}/b")
    assert [one.outcome for one in found] == [Outcome.OK, Outcome.OK]
    assert found[0].check == f"service-1, service-2 http://127.0.0.1:{port}"
    assert found[0].text.startswith("connected to 127.0.0.1 in ")
    assert found[1].text == f"within 1 s of http://127.0.0.1:{port}"


async def test_a_name_that_nobody_knows() -> None:
    """The usual reason is a network without its own DNS."""
    found = the_trouble(await examined("https://harness.invalid/x"))
    assert "the host name cannot be resolved" in found
    assert "check the name in the option and the DNS of this machine (getent hosts harness.invalid)" in found


async def test_a_port_where_nobody_listens() -> None:
    """Told from a firewall that swallows everything."""
    port = free_port()
    found = the_trouble(await examined(f"http://127.0.0.1:{port}/x"))
    assert "Connection refused" in found
    assert f"nothing listens at http://127.0.0.1:{port}" in found


async def test_a_server_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a firewall does that drops what it does not like."""
    monkeypatch.setattr(harness, "_ASK_SECONDS", 0.1)
    async with server(silent) as port:
        found = the_trouble(await examined(f"http://127.0.0.1:{port}/x"))
    assert f"no answer in time (TimeoutError): let a firewall pass http://127.0.0.1:{port}" in found


async def test_a_certificate_that_is_not_trusted(secured: tuple[ssl.SSLContext, Path]) -> None:
    """Its issuer tells who inspects the traffic."""
    context, certificate = secured
    async with server(hello, context) as port:
        found = the_trouble(await examined(f"https://localhost:{port}/x"))
        assert "signed by Inspection CA (Example Ltd)" in found
        assert "SSL_CERT_FILE" in found
        trusting = {"SSL_CERT_FILE": str(certificate)}
        good = await examined(f"https://localhost:{port}/x", environ=trusting)
        assert not trouble(good)
        assert "TLSv1.3, certificate for Inspection CA (Example Ltd) from Inspection CA" in good[0].text
        soon = await examined(f"https://localhost:{port}/x", environ=trusting, wall=NOW + 3640 * 86400.0)
        assert "its certificate expires soon" in the_trouble([soon[0]])


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n", "a login (407"),
        (
            b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n",
            "allow it there, or name the host in NO_PROXY",
        ),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "through the outbound proxy"),
    ],
)
async def test_an_outbound_proxy_that_does_not_let_us_pass(answer: bytes, said: str) -> None:
    """It wants a login, forbids the host, or is none."""
    async with refusing(answer) as port:
        proxy = {"HTTPS_PROXY": f"http://user:secret@127.0.0.1:{port}"}
        found = await examined("https://app.harness.invalid/x", environ=proxy)
    assert said in the_trouble(found)
    assert "secret" not in str(found)


async def test_an_outbound_proxy_that_is_not_there(secured: tuple[ssl.SSLContext, Path]) -> None:
    """By name, by port; and one that works is named."""
    where = f"http://127.0.0.1:{free_port()}"
    found = the_trouble(await examined("https://x.invalid/x", environ={"HTTPS_PROXY": where}))
    assert f"nothing listens at {where}" in found
    found = the_trouble(await examined("https://x.invalid/x", environ={"HTTPS_PROXY": "proxy.invalid:1"}))
    assert (
        "check the name in the outbound proxy and the DNS of this machine (getent hosts proxy.invalid)"
        in found
    )
    context, certificate = secured
    async with server(hello, context) as port, server(ForwardProxy().talk) as proxy_port:
        environ = {"HTTPS_PROXY": f"http://127.0.0.1:{proxy_port}", "SSL_CERT_FILE": str(certificate)}
        good = await examined(f"https://localhost:{port}/x", environ=environ)
    assert f"through the outbound proxy http://127.0.0.1:{proxy_port}, TLSv1.3" in good[0].text


@pytest.mark.parametrize(
    ("ahead", "outcome", "said"),
    [
        (-1, Outcome.OK, "within 1 s of"),
        (45, Outcome.WARNING, "this machine's clock is 45 s ahead of that of"),
        (-600, Outcome.PROBLEM, "this machine's clock is 600 s behind that of"),
    ],
)
async def test_a_clock_that_is_wrong(ahead: float, outcome: Outcome, said: str) -> None:
    """Against what the server says."""
    async with server(dated) as port:
        found = await examined(f"http://127.0.0.1:{port}/x", wall=NOW + ahead)
    assert found[1].outcome is outcome
    assert said in found[1].text


async def test_a_clock_that_cannot_be_compared() -> None:
    """Not every server says what time it is."""
    async with server(hello) as port:
        found = await examined(f"http://127.0.0.1:{port}/x")
    assert found[1].outcome is Outcome.SKIPPED


async def test_trust_that_cannot_be_had(tmp_path: Path) -> None:
    """A file that is not there, one that holds something else, and SOCKS."""
    missing = {"SSL_CERT_FILE": str(tmp_path / "absent.pem")}
    assert "SSL_CERT_FILE" in the_trouble(await found_by(lambda report: check_trust(missing, report)))
    (tmp_path / "notes.txt").write_text("no certificate")
    odd = {"SSL_CERT_DIR": str(tmp_path)}
    found = the_trouble(await found_by(lambda report: check_trust(odd, report)))
    assert "notes.txt has no readable certificate" in found
    assert "take that file out of the directory" in found
    socks = {"ALL_PROXY": "socks5://127.0.0.1:1080"}
    assert "set HTTPS_PROXY" in the_trouble(await found_by(lambda report: check_trust(socks, report)))
