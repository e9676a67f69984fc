"""TLS for the listener: certificates are read again when their files change (PRODUCT §2)."""

import ssl
from pathlib import Path
from typing import Final

from ff_proxy.errors import StartupError
from ff_proxy.telemetry import Telemetry

_Stamp = tuple[tuple[int, int, int], ...]
_UNUSABLE: Final = "the new TLS certificate cannot be used, the old one stays in force"


class Tls:
    """One context for the listener's life.

    Args:
        certificate: a PEM file, the chain included.
        key: its private key in PEM.
        client_ca: who signs clients' certificates; with it a client must have one.
        telemetry: told of changes.

    Raises:
        StartupError: the files cannot be used.
    """

    def __init__(self, certificate: Path, key: Path, client_ca: Path | None, telemetry: Telemetry) -> None:
        self._certificate = certificate
        self._key = key
        self._client_ca = client_ca
        self._log = telemetry.logger("web")
        self._once = telemetry.once("web")
        try:
            self._stamp = self._look()
            self.context: Final = self._make()
        except OSError as error:
            raise StartupError(f"TLS: {certificate} and {key} cannot be used: {error}") from error

    def refresh(self) -> None:
        """Take up changed files; what cannot be used changes nothing."""
        try:
            stamp = self._look()
            if stamp == self._stamp:
                return
            self._make()  # whether they fit each other is found out beside the context in use
            self.context.load_cert_chain(self._certificate, self._key)
            if self._client_ca is not None:
                self.context.load_verify_locations(self._client_ca)
        except OSError as error:
            self._once.warning(_UNUSABLE, str(self._certificate), error=str(error))
        else:
            self._stamp = stamp
            self._once.forget(_UNUSABLE, str(self._certificate))
            self._log.info("TLS certificate read again", file=str(self._certificate))

    def _make(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        context.load_cert_chain(self._certificate, self._key)
        if self._client_ca is not None:
            context.load_verify_locations(self._client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def _look(self) -> _Stamp:
        files = (self._certificate, self._key, *([] if self._client_ca is None else [self._client_ca]))
        found = [file.stat() for file in files]
        return tuple((one.st_mtime_ns, one.st_size, one.st_ino) for one in found)
