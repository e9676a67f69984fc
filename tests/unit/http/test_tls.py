"""Which files are taken up, and which are not."""

import asyncio
import io
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from ff_proxy.errors import ConfigError, StartupError
from ff_proxy.http.tls import Tls, TlsFiles
from ff_proxy.runtime.clock import SystemClock
from ff_proxy.telemetry import Telemetry
from ff_proxy.telemetry.logs import make_logger
from ff_proxy.tls.certificates import read_pem
from tests.support.certificates import make_certificate
from tests.support.clock import FakeClock

DAY = 86400.0
FIGURE = 'ff_proxy_certificate_expiry_seconds{certificate="tls-cert"} '


class Running:
    """TLS on files in ``directory``, with a clock that tests own."""

    def __init__(self, directory: Path, *, days: int = 100, client_ca: bool = False) -> None:
        self.directory = directory
        self.certificate, self.key = make_certificate(directory, days=days)
        self.authority = directory / "authority.pem"
        if client_ca:
            self.authority.write_bytes(make_certificate(directory, "authority")[0].read_bytes())
        self.out = io.StringIO()
        self.clock = FakeClock(SystemClock().wall() + 60)
        self.telemetry = Telemetry(make_logger("INFO", self.out), self.clock)
        files = TlsFiles(self.certificate, self.key, self.authority if client_ca else None)
        self.tls = Tls(files, self.clock, self.telemetry)

    def put(self, name: str, days: int) -> None:
        """Have another pair of files in place of ours."""
        for path, new in zip((self.certificate, self.key), self.make(name, days), strict=True):
            shutil.copy(new, path)

    def make(self, name: str, days: int) -> tuple[Path, Path]:
        """Another pair."""
        return make_certificate(self.directory, name, days=days)

    def poll(self) -> bool:
        """Look twice, as in two seconds; whether other files are in force then."""
        before = self.tls.context.active
        self.tls.refresh()
        self.tls.refresh()
        return self.tls.context.active is not before

    @property
    def said(self) -> list[str]:
        """Log lines so far."""
        return self.out.getvalue().splitlines()

    @property
    def seconds_left(self) -> float:
        """The figure."""
        lines = self.telemetry.exposition().decode().splitlines()
        return float(next(line for line in lines if line.startswith(FIGURE)).removeprefix(FIGURE))


def test_changed_files_are_loaded_once_they_are_stable(tmp_path: Path) -> None:
    """Not at once: they may still be written to."""
    running = Running(tmp_path)
    assert not running.poll()
    running.put("other", 50)
    active = running.tls.context.active
    running.tls.refresh()
    assert running.tls.context.active is active
    running.tls.refresh()
    assert running.tls.context.active is not active
    assert abs(running.seconds_left - 50 * DAY) < 300
    assert "other" in running.said[-1]
    assert not running.poll()


async def test_the_service_polls_the_files(tmp_path: Path) -> None:
    """Every second, without blocking the event loop."""
    running = Running(tmp_path)
    loads = []

    class Looking(Exception):  # noqa: N818  (ends the service)
        pass

    def refresh() -> None:
        loads.append(running.clock.monotonic())
        raise Looking

    running.tls.refresh = refresh  # type: ignore[method-assign]
    task = asyncio.create_task(running.tls.run())
    await running.clock.advance(1)
    with pytest.raises(Looking):
        await task
    assert loads == [1.0]


@pytest.mark.parametrize("which", ["certificate", "key", "authority"])
@pytest.mark.parametrize("damage", ["half", "empty", "nonsense", "missing", "directory"])
def test_unusable_files_change_nothing(tmp_path: Path, which: str, damage: str) -> None:
    """They are reported once, with the file name, and loaded once they are repaired."""
    running = Running(tmp_path, client_ca=True)
    path: Path = getattr(running, which)
    whole = path.read_bytes()
    path.unlink()
    match damage:
        case "half":
            path.write_bytes(whole[: len(whole) // 2])
        case "empty":
            path.touch()
        case "nonsense":
            path.write_bytes(b"nonsense")
        case "directory":
            path.mkdir()
    lines = len(running.said)
    for _ in range(3):
        assert not running.poll()
    (line,) = running.said[lines:]
    assert path.name in line
    if damage == "directory":
        path.rmdir()
    path.write_bytes(whole)
    assert running.poll()


def test_a_truncated_chain_is_refused(tmp_path: Path) -> None:
    """Its first certificate is complete, but SDKs would miss the second."""
    running = Running(tmp_path)
    text = running.certificate.read_bytes()
    running.certificate.write_bytes(text + text[:100])
    assert not running.poll()
    running.certificate.write_bytes(text + text)
    assert running.poll()


def test_a_key_that_does_not_match_is_refused(tmp_path: Path) -> None:
    """As when only one of the two files has been replaced."""
    running = Running(tmp_path)
    new = running.make("other", 50)
    shutil.copy(new[0], running.certificate)
    assert not running.poll()
    assert f"{running.key} is not the key of {running.certificate}" in running.said[-1]
    shutil.copy(new[1], running.key)
    assert running.poll()


async def test_an_expired_replacement_is_refused_while_the_current_one_is_valid(tmp_path: Path) -> None:
    """Once that expires too, the files are used as they are."""
    running = Running(tmp_path, days=100)
    await running.clock.advance(50 * DAY)
    running.put("short", 10)
    for _ in range(3):
        assert not running.poll()
    assert "has ended" in running.said[-1]
    running.tls.reload()
    assert running.seconds_left > 40 * DAY
    await running.clock.advance(51 * DAY)
    assert running.poll()


async def test_a_certificate_is_used_once_it_becomes_valid(tmp_path: Path) -> None:
    """Without another change to the files."""
    running = Running(tmp_path)
    # Certificates begin when they are made: the clock is set back, and the present one begins earlier.
    present = running.tls._loaded
    running.tls._clock = early = FakeClock(present.shown.begins - 7200)
    running.tls._loaded = replace(present, shown=replace(present.shown, begins=0.0))
    running.put("next", 200)
    assert not running.poll()
    assert "not valid yet" in running.said[-1]
    await early.advance(7200 + 120)
    assert running.poll()


async def test_client_cas_without_a_valid_one_are_refused(tmp_path: Path) -> None:
    """They would lock every client out."""
    running = Running(tmp_path, client_ca=True)
    long = running.make("long", 100)[0]
    shutil.copy(long, running.authority)
    assert running.poll()
    await running.clock.advance(50 * DAY)
    shutil.copy(running.make("brief", 10)[0], running.authority)
    assert not running.poll()
    assert "authority" in running.said[-1]
    running.authority.write_bytes(long.read_bytes() + (tmp_path / "brief.crt").read_bytes())
    assert running.poll()


async def test_expiry_is_announced_fourteen_days_before(tmp_path: Path) -> None:
    """Once a day; the metric goes below zero after expiry."""
    running = Running(tmp_path, days=20)
    running.poll()
    assert running.said == []
    await running.clock.advance(6.1 * DAY)
    running.poll()
    running.poll()
    (line,) = running.said
    assert "ends soon" in line
    await running.clock.advance(1.01 * DAY)
    running.poll()
    assert len(running.said) == 2
    await running.clock.advance(14 * DAY)
    running.poll()
    assert "has ended" in running.said[-1]
    assert running.seconds_left < 0
    running.put("renewed", 90)
    assert running.poll()
    lines = len(running.said)
    running.poll()
    assert len(running.said) == lines


@pytest.mark.parametrize("form", ["PKCS#8", "traditional"])
def test_an_encrypted_key_is_a_configuration_error(tmp_path: Path, form: str) -> None:
    """There is no prompt on the terminal; on reload the last good key stays."""
    running = Running(tmp_path)
    _, key = make_certificate(tmp_path, "locked", passphrase="open sesame")
    if form == "traditional":
        body = key.read_text().splitlines()[1:-1]
        header = "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,0123456789ABCDEF0123456789ABCDEF\n"
        key.write_text(
            "-----BEGIN EC PRIVATE KEY-----\n"
            + header
            + "\n"
            + "\n".join(body)
            + "\n-----END EC PRIVATE KEY-----\n"
        )
    with pytest.raises(ConfigError, match=r"tls-key: .*locked.key is encrypted"):
        Tls(TlsFiles(running.certificate, key), running.clock, running.telemetry)
    shutil.copy(key, running.key)
    assert not running.poll()
    assert "encrypted" in running.said[-1]


def test_a_world_readable_key_gives_a_warning(tmp_path: Path) -> None:
    """The proxy does not change its mode."""
    running = Running(tmp_path)
    assert not any("every user can read" in line for line in running.said)
    running.key.chmod(0o644)
    Tls(TlsFiles(running.certificate, running.key), running.clock, running.telemetry)
    assert sum("every user can read" in line for line in running.said) == 1


def test_an_expired_certificate_is_served_with_a_warning(tmp_path: Path) -> None:
    """SDKs that do not check it still connect."""
    running = Running(tmp_path, days=1)
    later = FakeClock(read_pem(running.certificate.read_bytes())[0].ends + 5)
    Tls(TlsFiles(running.certificate, running.key), later, running.telemetry)
    assert "has ended" in running.said[-1]


def test_swapped_files_are_detected(tmp_path: Path) -> None:
    """The message says which of the two is wrong."""
    running = Running(tmp_path)
    with pytest.raises(StartupError, match="no certificate"):
        Tls(TlsFiles(running.key, running.certificate), running.clock, running.telemetry)
    with pytest.raises(StartupError, match="no private key"):
        Tls(TlsFiles(running.certificate, running.certificate), running.clock, running.telemetry)
