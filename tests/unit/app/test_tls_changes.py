"""Other TLS files in a running proxy: taken up, or refused with all that came with them."""

import shutil
from collections.abc import Callable, Collection
from pathlib import Path

import pytest

from ff_proxy.app.options_reload import TLS_FLAGS, OptionsReload
from ff_proxy.app.tls import check_tls, tls_changes, tls_in_force
from ff_proxy.config.load import load
from ff_proxy.config.records import GenerateOptions, RoleOptions
from ff_proxy.http.tls import Tls
from ff_proxy.runtime.clock import SystemClock
from ff_proxy.telemetry import null_telemetry
from ff_proxy.telemetry.logs import make_logger
from ff_proxy.tls.certificates import read_pem
from tests.support.certificates import make_certificate
from tests.support.clock import FakeClock

DAY = 86400.0


class Proxy:
    """The options of an offline proxy with TLS, and the part of it that uses them."""

    def __init__(self, folder: Path, **options: str) -> None:
        self.folder = folder
        self.clock = FakeClock(SystemClock().wall() + 60)
        self.certificate, self.key = make_certificate(folder, "first", days=100)
        self.config = folder / "config.toml"
        self.write(**options)
        loaded = load(["-offline", f"-config={self.config}"], {})
        assert not isinstance(loaded.options, GenerateOptions)
        self.serving = loaded.options.serving
        self.reload = OptionsReload(loaded, make_logger("ERROR"), [check_tls(self.clock)])
        self.idle: list[RoleOptions] = []
        self.reload.add(["idle-timeout"], self._take_idle_timeout)
        files = tls_in_force(self.serving, self.reload)
        self.tls = None if files is None else Tls(files, self.clock, null_telemetry())
        use = () if self.tls is None else (self.tls.use,)
        self.reload.add(TLS_FLAGS, tls_changes(self.serving, *use))

    def _take_idle_timeout(self, changed: RoleOptions) -> Collection[str]:
        self.idle.append(changed)
        return ()

    def write(self, **options: str) -> None:
        """Write the file of options anew."""
        given = {"tls_enabled": "true", "tls_cert": str(self.certificate), "tls_key": str(self.key)} | options
        lines = [f'{name.replace("_", "-")} = "{value}"\n' for name, value in given.items() if value]
        self.config.write_text("".join(lines))

    def name(self, files: tuple[Path, Path], **more: str) -> None:
        """Have the file name these, and something else that has nothing to do with them."""
        self.write(tls_cert=str(files[0]), tls_key=str(files[1]), idle_timeout="700", **more)

    @property
    def shown(self) -> str:
        """Whose certificate clients are shown."""
        assert self.tls is not None
        return self.tls._loaded.shown.subject


def test_other_files_are_used_from_now_on(tmp_path: Path) -> None:
    """They are then the ones that are watched, and with which another process starts."""
    proxy = Proxy(tmp_path)
    second = make_certificate(tmp_path, "second", days=100)
    proxy.name(second)
    assert proxy.reload().changed == ("idle-timeout", "tls-cert", "tls-key")
    assert "second" in proxy.shown
    proxy.certificate.unlink()
    files = tls_in_force(proxy.serving, proxy.reload.for_child(make_logger("ERROR")))
    assert files is not None
    assert (files.certificate, files.key) == second
    third = make_certificate(tmp_path, "third", days=100)
    for new, path in zip(third, second, strict=True):
        shutil.copy(new, path)
    assert proxy.tls is not None
    proxy.tls.refresh()
    proxy.tls.refresh()
    assert "third" in proxy.shown


def _missing(proxy: Proxy) -> tuple[Path, Path]:
    return proxy.folder / "nowhere.crt", proxy.key


def _no_key(proxy: Proxy) -> tuple[Path, Path]:
    return proxy.certificate, proxy.folder / "nowhere.key"


def _a_directory(proxy: Proxy) -> tuple[Path, Path]:
    return proxy.certificate, proxy.folder


def _another_key(proxy: Proxy) -> tuple[Path, Path]:
    return make_certificate(proxy.folder, "other")[0], proxy.key


def _nonsense(proxy: Proxy) -> tuple[Path, Path]:
    (proxy.folder / "nonsense").write_text("nonsense")
    return proxy.folder / "nonsense", proxy.key


def _expired(proxy: Proxy) -> tuple[Path, Path]:
    made = make_certificate(proxy.folder, "expired", days=1)
    proxy.clock._now = proxy.clock.monotonic() + 2 * DAY
    return made


def _encrypted(proxy: Proxy) -> tuple[Path, Path]:
    return make_certificate(proxy.folder, "locked", passphrase="open sesame")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (_missing, "tls-cert: {folder}/nowhere.crt: No such file or directory"),
        (_no_key, "tls-key: {folder}/nowhere.key: No such file or directory"),
        (_a_directory, "tls-key: {folder}: Is a directory"),
        (_another_key, "tls-key: {folder}/first.key is not the key of {folder}/other.crt"),
        (_nonsense, "tls-cert: {folder}/nonsense: it contains no certificate"),
        (_expired, "tls-cert: {folder}/expired.crt: the certificate has ended"),
        (_encrypted, "tls-key: {folder}/locked.key is encrypted"),
    ],
)
def test_files_that_cannot_be_used_refuse_everything(
    tmp_path: Path, make: Callable[[Proxy], tuple[Path, Path]], said: str
) -> None:
    """With option, file and cause; also what would be right by itself is not taken up."""
    proxy = Proxy(tmp_path)
    proxy.name(make(proxy))
    result = proxy.reload()
    (problem,) = result.problems
    assert problem.startswith(said.format(folder=tmp_path))
    assert (result.changed, result.restart) == ((), ())
    assert proxy.idle == []
    assert "first" in proxy.shown
    assert proxy.reload.in_force["tls-cert"] == proxy.certificate


def test_an_authority_that_cannot_be_used_refuses_everything(tmp_path: Path) -> None:
    """Clients would be let in by nobody, or by anybody."""
    proxy = Proxy(tmp_path)
    proxy.name((proxy.certificate, proxy.key), tls_client_ca=str(tmp_path / "nowhere.pem"))
    assert proxy.reload().problems == (f"tls-client-ca: {tmp_path}/nowhere.pem: No such file or directory",)
    authority = make_certificate(tmp_path, "authority", days=100)[0]
    proxy.name((proxy.certificate, proxy.key), tls_client_ca=str(authority))
    assert proxy.reload().changed == ("idle-timeout", "tls-client-ca")


def test_files_of_before_that_are_broken_now_refuse_everything(tmp_path: Path) -> None:
    """A start would fail with them."""
    proxy = Proxy(tmp_path)
    proxy.write(idle_timeout="700")
    proxy.key.write_text("")
    assert proxy.reload().problems == (f"tls-key: {proxy.key}: there is no private key in PEM form in it",)
    assert proxy.idle == []


def test_a_certificate_that_has_ended_meanwhile_hinders_nothing(tmp_path: Path) -> None:
    """Who has that trouble may need another option all the more."""
    proxy = Proxy(tmp_path)
    proxy.clock._now = proxy.clock.monotonic() + 200 * DAY
    assert read_pem(proxy.certificate.read_bytes())[0].ends < proxy.clock.wall()
    proxy.write(idle_timeout="700")
    assert proxy.reload().changed == ("idle-timeout",)


@pytest.mark.parametrize("enabled", ["true", "false"])
def test_an_open_port_stays_what_it_is(tmp_path: Path, enabled: str) -> None:
    """With TLS or without, until a restart; whoever starts a process meanwhile does as before."""
    proxy = Proxy(tmp_path, tls_enabled=enabled)
    second = make_certificate(tmp_path, "second", days=100)
    proxy.name(second, tls_enabled="false" if enabled == "true" else "true")
    result = proxy.reload()
    assert result.changed == ("idle-timeout",)
    assert result.restart == ("tls-cert", "tls-enabled", "tls-key")
    assert set(tls_changes(proxy.serving)(proxy.reload.loaded.options)) >= {"tls-cert", "tls-key"}
    files = tls_in_force(proxy.serving, proxy.reload)
    if enabled == "true":
        assert "first" in proxy.shown
        assert files is not None
        assert files.certificate == proxy.certificate
    else:
        assert files is None
