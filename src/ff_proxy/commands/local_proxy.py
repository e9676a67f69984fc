"""Requests to the proxy on this machine. Imports little, since probes start often."""

import http.client
import socket
import ssl
from pathlib import Path
from typing import Final

from ff_proxy.config.addresses import HostPort
from ff_proxy.config.settings import Settings

PATIENCE: Final = 5.0
"""Seconds to wait for each step of a request."""

_SHOWN: Final = 500
_LOOPBACK: Final = "127.0.0.1"
# Listening on all addresses includes loopback.
_EVERYWHERE: Final = {"0.0.0.0": _LOOPBACK, "::": "::1"}  # noqa: S104  (asked for by options, not bound here)


def place_of(settings: Settings) -> str:
    """Where it listens, as text."""
    host: str | Path | None = settings["host"]
    if isinstance(host, Path):
        return f"unix:{host}"
    return str(HostPort(_address(host), settings["port"]))


def get(settings: Settings, path: str) -> tuple[int, str]:
    """Status and beginning of the answer to GET ``path``; raises ``OSError`` or ``HTTPException``.

    ``path`` is one at the root: what is served below ``base-path`` is served there as well.
    """
    connection = _connect(settings)
    try:
        connection.request("GET", path, headers={"Connection": "close"})
        response = connection.getresponse()
        body = response.read(_SHOWN).decode("utf-8", "replace")
    finally:
        connection.close()
    return response.status, " ".join(body.split())


def _connect(settings: Settings) -> http.client.HTTPConnection:
    host: str | Path | None = settings["host"]
    tls = _tls(settings) if settings["tls-enabled"] else None
    if isinstance(host, Path):
        return _SocketConnection(host, tls)
    if tls is None:
        return http.client.HTTPConnection(_address(host), settings["port"], timeout=PATIENCE)
    return http.client.HTTPSConnection(_address(host), settings["port"], timeout=PATIENCE, context=tls)


def _address(host: str | None) -> str:
    return _LOOPBACK if host is None else _EVERYWHERE.get(host, host)


def _tls(settings: Settings) -> ssl.SSLContext:
    context = ssl.create_default_context()
    # The certificate is for the name that SDKs use; on the same machine it need not be verified.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    certificate: Path | None = settings["tls-cert"]
    if settings.given("tls-client-ca") and certificate is not None:
        context.load_cert_chain(certificate, settings["tls-key"])
    return context


class _SocketConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path, tls: ssl.SSLContext | None) -> None:
        super().__init__("localhost", timeout=PATIENCE)
        self._path = path
        self._tls = tls

    def connect(self) -> None:
        """Open the socket."""
        connected = socket.socket(socket.AF_UNIX)
        try:
            connected.settimeout(self.timeout)
            connected.connect(str(self._path))
            self.sock = connected if self._tls is None else self._tls.wrap_socket(connected)
        except BaseException:
            connected.close()
            raise
