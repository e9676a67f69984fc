"""TLS for the listener: reloads changed files; if they cannot be used, the last good ones stay in force."""

import asyncio
import ssl
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

from ff_proxy.errors import ConfigError, StartupError
from ff_proxy.file_reading import read_regular_file
from ff_proxy.model.clock import Clock
from ff_proxy.telemetry import Telemetry
from ff_proxy.tls.certificates import RENEWAL_SECONDS, Certificate, read_pem

_Stamp = tuple[tuple[int, int, int], ...]

_EVERY: Final = 1.0
_DAY: Final = 86400.0
_OTHERS_READ: Final = 0o004
# For TLS 1.2 only AEAD ciphers with forward secrecy: no CBC, no static RSA key exchange.
_CIPHERS: Final = "@SECLEVEL=2:ECDHE+AESGCM:ECDHE+CHACHA20"

_REFUSED: Final = "new TLS files cannot be used, the ones in force stay"
_ENDS: Final = "the TLS certificate ends soon: renew it"
_ENDED: Final = "the TLS certificate has ended: SDKs that check it do not connect"
_NOT_YET: Final = "the TLS certificate is not valid yet: SDKs that check it do not connect"


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files: a certificate with its chain, its private key, and the CAs of client certificates.

    With ``client_ca``, clients must present a certificate.
    """

    certificate: Path
    key: Path
    client_ca: Path | None = None

    def all(self) -> tuple[Path, ...]:
        """The configured files."""
        return (self.certificate, self.key, *(() if self.client_ca is None else (self.client_ca,)))


@dataclass(frozen=True, slots=True)
class LoadedTls:
    """The loaded files: a context for the listener, its server certificate, and the client CAs."""

    files: TlsFiles
    context: ssl.SSLContext
    shown: Certificate
    authorities: tuple[Certificate, ...]

    def trouble(self, moment: float) -> str:
        """Why connections would fail at that moment (seconds since the epoch); empty if they would not."""
        if moment > self.shown.ends:
            return f"tls-cert: {self.files.certificate}: the certificate has ended"
        if moment < self.shown.begins:
            return f"tls-cert: {self.files.certificate}: the certificate is not valid yet"
        if self.authorities and not any(one.good_at(moment) for one in self.authorities):
            return f"tls-client-ca: {self.files.client_ca}: no authority for clients is valid now"
        return ""


class _Switch(ssl.SSLContext):
    """The listener's context: passes each handshake to the context in force.

    Each context has its own sessions, so no session of a client CA is resumed once that CA is removed.
    """

    active: ssl.SSLContext

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        return self.active.wrap_bio(incoming, outgoing, server_side, server_hostname, session)


class Tls:
    """The listener's TLS context, and the service that watches its files for changes.

    Args:
        files: the PEM files.
        clock: time, to check validity.
        telemetry: logs changes.

    Attributes:
        context: the context for the listener; stays the same object across reloads.

    Raises:
        ConfigError: the key is encrypted.
        StartupError: the files cannot be used.
    """

    name = "tls"

    def __init__(self, files: TlsFiles, clock: Clock, telemetry: Telemetry) -> None:
        self.ready = asyncio.Event()
        self._files = files
        self._clock = clock
        self._log = telemetry.logger("tls")
        self._once = telemetry.once("tls", _DAY)
        self._expiry = telemetry.metrics.certificate_expiry.labels("tls-cert")
        try:
            self._last_stamp = self._active_stamp = self._stat_files()
            self._loaded = _load(files)
        except (OSError, ValueError) as error:
            raise StartupError(f"the TLS files cannot be used: {_describe(error)}") from error
        self._refused: LoadedTls | None = None
        self._reason = ""
        self.context: Final = _Switch(ssl.PROTOCOL_TLS_SERVER)
        self.context.active = self._loaded.context
        self._lock: Final = threading.Lock()
        self._warn_of_readers()
        self._watch_validity()

    async def run(self) -> None:
        """Check the files every second until cancelled."""
        self.ready.set()
        while True:
            await self._clock.sleep(_EVERY)
            # A volume may hang, and loading CA bundles is slow.
            await asyncio.to_thread(self.refresh)

    def refresh(self) -> None:
        """Reload changed files once they have stayed the same between two calls."""
        with self._lock:
            self._refresh()

    def reload(self) -> None:
        """Reload the files now, changed or not; if they cannot be used, nothing changes."""
        with self._lock:
            self._reload()

    def use(self, files: TlsFiles) -> None:
        """Switch to other files; the certificate in force stays until these can be used."""
        with self._lock:
            if files != self._files:
                self._files, self._last_stamp, self._refused = files, (), None
                self._warn_of_readers()
                self._reload()

    def _refresh(self) -> None:
        self._watch_validity()
        try:
            stamp = self._stat_files()
        except OSError as error:
            # A file may be missing briefly while it is replaced; if it stays missing, a restart would fail.
            stable, self._last_stamp = self._last_stamp == (), ()
            if stable:
                self._refuse(_describe(error))
            return
        stable, self._last_stamp = stamp == self._last_stamp, stamp
        if stamp != self._active_stamp and stable:
            self._reload()
        elif self._refused is not None:
            self._try_activate(self._refused)  # it may have become valid

    def _reload(self) -> None:
        try:
            stamp = self._stat_files()
            loaded = _load(self._files)
            if self._stat_files() != stamp:
                return  # changed while loading: the next refresh retries
        except (OSError, ValueError, ConfigError) as error:
            self._refuse(_describe(error))
            return
        self._active_stamp = stamp
        self._try_activate(loaded)

    def _try_activate(self, loaded: LoadedTls) -> None:
        now = self._clock.wall()
        trouble = loaded.trouble(now)
        if trouble and not self._loaded.trouble(now):
            self._refused = loaded
            self._refuse(trouble)
            return
        self._refused = None
        self._once.forget(_REFUSED, self._reason)
        if loaded.shown != self._loaded.shown:
            for event in (_ENDS, _ENDED, _NOT_YET):
                self._once.forget(event)
        self._loaded = loaded
        self.context.active = loaded.context
        self._watch_validity()
        self._log.info(
            "TLS files read again",
            subject=loaded.shown.subject,
            issuer=loaded.shown.issuer,
            days=self._days(),
            authorities=[one.subject for one in loaded.authorities],
        )

    def _warn_of_readers(self) -> None:
        key = self._files.key
        with suppress(OSError):
            if key.stat().st_mode & _OTHERS_READ:
                self._log.warning("every user can read the TLS key: take that right away", file=str(key))

    def _refuse(self, reason: str) -> None:
        if reason != self._reason:
            self._once.forget(_REFUSED, self._reason)
        self._reason = reason
        self._once.warning(_REFUSED, reason)

    def _watch_validity(self) -> None:
        now = self._clock.wall()
        shown = self._loaded.shown
        self._expiry.set(shown.ends - now)
        if now > shown.ends:
            event = _ENDED
        elif now < shown.begins:
            event = _NOT_YET
        elif shown.ends - now < RENEWAL_SECONDS:
            event = _ENDS
        else:
            return
        self._once.warning(event, file=str(self._files.certificate), days=self._days())

    def _days(self) -> float:
        return round((self._loaded.shown.ends - self._clock.wall()) / _DAY, 1)

    def _stat_files(self) -> _Stamp:
        found = [file.stat() for file in self._files.all()]
        return tuple((one.st_mtime_ns, one.st_size, one.st_ino) for one in found)


def load_tls(files: TlsFiles) -> LoadedTls:
    """Load the files; raises ``ConfigError``, which names option, file and cause."""
    try:
        return _load(files)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{_option(files, error)}: {_describe(error)}") from error


def _load(files: TlsFiles) -> LoadedTls:
    """As ``load_tls``; raises ``OSError``, ``ValueError`` or ``ConfigError``."""
    chain = _certificates(files.certificate)
    authorities = () if files.client_ca is None else tuple(_certificates(files.client_ca))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(["http/1.1"])

    def ask() -> NoReturn:
        # Otherwise OpenSSL would prompt on the terminal.
        raise ConfigError(f"tls-key: {files.key} is encrypted: decrypt it, there is no passphrase option")

    key = read_regular_file(files.key)
    if key.count(b"-----BEGIN ") != key.count(b"-----END "):
        raise ValueError(f"{files.key}: the file is incomplete")
    if b"PRIVATE KEY-----" not in key:
        raise ValueError(f"{files.key}: there is no private key in PEM form in it")
    try:
        context.load_cert_chain(files.certificate, files.key, password=ask)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise ValueError(f"{files.key} is not the key of {files.certificate}") from error
        reason = error.reason or error.strerror or "not understood"
        raise ValueError(f"{files.certificate} and {files.key} are refused by OpenSSL: {reason}") from error
    if files.client_ca is not None:
        try:
            context.load_verify_locations(files.client_ca)
        except ssl.SSLError as error:
            raise ValueError(f"{files.client_ca} is refused by OpenSSL: {error.reason}") from error
        context.verify_mode = ssl.CERT_REQUIRED
        # On by default since Python 3.13; private CAs rarely satisfy it.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return LoadedTls(files, context, chain[0], authorities)


def _certificates(file: Path) -> list[Certificate]:
    try:
        return read_pem(read_regular_file(file))
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error


def _describe(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def _option(files: TlsFiles, error: Exception) -> str:
    """The option of the file that ``error`` names first."""
    named = {"tls-cert": files.certificate, "tls-key": files.key, "tls-client-ca": files.client_ca}
    words = _describe(error)
    return next((flag for flag, file in named.items() if words.startswith(str(file))), "tls-cert")
