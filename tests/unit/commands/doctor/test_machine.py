"""What can be wrong with this machine: certificates, the limit of files, ports, options."""

import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ff_proxy.commands.doctor.findings import Finding, Outcome
from ff_proxy.commands.doctor.machine import (
    answers,
    check_certificate,
    check_file_limit,
    check_options,
    check_port,
)
from ff_proxy.config.settings import read_settings
from ff_proxy.http.tls import TlsFiles
from ff_proxy.tls.certificates import read_pem
from tests.support.certificates import make_certificate
from tests.support.clock import FakeClock
from tests.support.config_ways import UNGUESSABLE
from tests.support.doctor import found_by, the_trouble, trouble

DAY = 86400.0


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for ten years, and its key."""
    return make_certificate(tmp_path_factory.mktemp("tls"), days=3650)


async def certified(certificate: Path, key: Path, wall: float) -> list[Finding]:
    """What is found of these files at that time."""
    files = TlsFiles(certificate, key)
    return await found_by(lambda report: check_certificate(files, FakeClock(wall), report))


async def test_certificates(pair: tuple[Path, Path], tmp_path: Path) -> None:
    """Good, near its end, over, not begun, missing, of another key, encrypted."""
    certificate, key = pair
    shown = read_pem(certificate.read_bytes())[0]
    (good,) = await certified(certificate, key, shown.begins + 1)
    assert (good.outcome, good.text[:23]) == (Outcome.OK, "certificate for server ")
    soon = the_trouble(await certified(certificate, key, shown.ends - 3 * DAY))
    assert soon.startswith("warning certificate for server from server ends on ")
    assert "in 3 days: renew it" in soon
    over = the_trouble(await certified(certificate, key, shown.ends + DAY))
    assert "SDKs do not connect: renew it, or check this machine's clock" in over
    assert "is not valid yet" in the_trouble(await certified(certificate, key, shown.begins - DAY))
    absent = the_trouble(await certified(tmp_path / "absent.crt", key, shown.begins))
    assert "No such file or directory: check tls-cert, tls-key and tls-client-ca" in absent
    _, other_key = make_certificate(tmp_path, "other")
    assert "is not the key of" in the_trouble(await certified(certificate, other_key, shown.begins))
    encrypted, its_key = make_certificate(tmp_path, "encrypted", passphrase="secret")
    assert "is encrypted: decrypt it" in the_trouble(await certified(encrypted, its_key, shown.begins))


async def test_the_limit_of_files() -> None:
    """Too low for what is wanted, low, enough, none."""
    infinite = resource.RLIM_INFINITY
    for hard, wanted, outcome, said in (
        (1024, 5000, Outcome.PROBLEM, "1024 open files leave room for 896 of max-connections 5000"),
        (1024, None, Outcome.WARNING, "1024 open files leave room for 896 connections"),
        (20_000, 5000, Outcome.OK, "20000 open files, room for 19872 connections"),
        (infinite, None, Outcome.OK, "any number of open files, room for 1000000 connections"),
    ):
        (found,) = await found_by(
            lambda report, hard=hard, wanted=wanted: check_file_limit(  # type: ignore[misc]  # bound now
                wanted, report, lambda: (256, hard)
            )
        )
        assert (found.outcome, found.text) == (outcome, said)


@contextmanager
def taken(family: socket.AddressFamily = socket.AF_INET) -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0), family=family) as listening:
        yield listening.getsockname()[1]


async def test_ports() -> None:
    """Free, taken by somebody, taken by us, not to be had, on an address that is not ours."""

    async def looked(host: str | None, port: int, *, ours: bool = False) -> str:
        (found,) = await found_by(lambda report: check_port("port", host, port, lambda: ours, report))
        return f"{found.outcome.value} {found.text}: {found.advice}"

    with taken() as port:
        assert await looked("127.0.0.1", port) == (
            f"problem 127.0.0.1:{port} is in use by another program: end that, or choose another port"
        )
        assert await looked("127.0.0.1", port, ours=True) == (
            f"ok the proxy that runs here listens on 127.0.0.1:{port}: "
        )
    assert await looked("127.0.0.1", port) == f"ok 127.0.0.1:{port} is free: "
    assert await looked(None, port) == f"ok 0.0.0.0:{port} is free: "
    assert "192.0.2.1 is not an address of this machine" in await looked("192.0.2.1", port)


async def test_a_port_that_may_not_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests may run as a user who may."""

    def forbidden(*_: object, **__: object) -> socket.socket:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket, "create_server", forbidden)
    found = await found_by(lambda report: check_port("port", None, 443, lambda: False, report))
    assert "may not use port 443: choose a port above 1024" in the_trouble(found)


async def test_unix_sockets(tmp_path: Path) -> None:
    """Free, in use, left behind, in a directory that is not there."""
    path = tmp_path / "proxy.sock"

    async def looked(where: Path) -> str:
        (found,) = await found_by(lambda report: check_port("host", where, 0, lambda: False, report))
        return f"{found.outcome.value} {found.text}"

    assert await looked(path) == f"ok unix:{path} is free"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        assert await looked(path) == f"problem unix:{path} is in use by another program"
    assert await looked(path) == f"ok unix:{path} is free"
    assert (await looked(tmp_path / "absent" / "x.sock")).startswith("problem unix:")


async def test_options() -> None:
    """Every problem and warning that a start would have."""
    good = read_settings(["-offline", f"-auth-secret={UNGUESSABLE}", "-config-dir=/x"], {})
    (found,) = await found_by(lambda report: check_options(good, report))
    assert found.text == "offline mode, 3 options are set (see ff-proxy print-config)"
    bad = read_settings(["-offline", "-read-replica", "-port=x", "-bypass-auth"], {})
    told = trouble(await found_by(lambda report: check_options(bad, report)))
    assert [one.text.split(":")[0] for one in told if one.outcome is Outcome.PROBLEM][:2] == [
        "port",
        "redis-address",
    ]
    assert any("bypass-auth is on" in one.text for one in told if one.outcome is Outcome.WARNING)


def test_whether_our_proxy_answers_is_asked_once() -> None:
    """And told from another server."""
    asked: list[str] = []

    def ours(path: str) -> tuple[int, str]:
        asked.append(path)
        return 200, '{"environments":[],"cacheStatus":"healthy"}'

    def nobody(_: str) -> tuple[int, str]:
        raise ConnectionRefusedError

    is_ours = answers(ours)
    assert is_ours()
    assert is_ours()
    assert asked == ["/health"]
    assert not answers(nobody)()
    assert not answers(lambda _: (200, "<html>"))()
