"""``ff-proxy health`` and ``ff-proxy ready``: ask the proxy on this machine how it is, for container probes.

They read the same options as the proxy does, so that a container's environment tells them port and TLS. Where
they are called without flags, the flags are those of the proxy that the container runs.
"""

import http.client
import os
import socket
import ssl
from pathlib import Path
from typing import Final, TextIO

from ff_proxy.config.settings import Settings
from ff_proxy.errors import ConfigError, ExitCode

HOST: Final = "127.0.0.1"
PATIENCE: Final = 5.0  # seconds
_SHOWN: Final = 500


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a socket in the file system."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=PATIENCE)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(str(self._path))


def health(settings: Settings, out: TextIO) -> ExitCode:
    """Whether the process lives; exit code 0 or 1. Raises ``ConfigError`` for unusable options."""
    return _probe("health", "/health/live", settings, out)


def ready(settings: Settings, out: TextIO) -> ExitCode:
    """Whether SDKs can be sent here; exit code 0 or 1. Raises ``ConfigError`` for unusable options."""
    return _probe("ready", "/health/ready", settings, out)


def flags_of_the_container(command_line: Path = Path("/proc/1/cmdline")) -> list[str]:
    """The flags that ``docker run`` gave to the proxy, which a container's probe is not told.

    Empty where process 1 is something else than ``ff-proxy FLAGS…``, or hidden.
    """
    try:
        words = os.fsdecode(command_line.read_bytes()).split("\0")[:-1]
    except OSError:
        return []
    programs = [number for number, word in enumerate(words) if Path(word).name == "ff-proxy"]
    return words[programs[-1] + 1 :] if programs else []


def _probe(name: str, path: str, settings: Settings, out: TextIO) -> ExitCode:
    if settings.problems:
        raise ConfigError(*settings.problems)
    host, port = _address(settings)
    if not port and not isinstance(host, Path):
        raise ConfigError("port: must be a port that is known beforehand, 0 is not")
    try:
        status, answer = _get(settings, path)
    except (OSError, http.client.HTTPException) as error:
        why = str(error) or type(error).__name__
        where = f"unix:{host}" if isinstance(host, Path) else f"{host}:{port}"
        out.write(f"{name}: no answer from {where}: {why}\n")
        return ExitCode.CRASH
    out.write(f"{name}: {status} {answer}\n")
    return ExitCode.OK if status == http.client.OK else ExitCode.CRASH


def _get(settings: Settings, path: str) -> tuple[int, str]:
    connection = _connect(settings)
    try:
        connection.request("GET", path, headers={"Connection": "close"})
        response = connection.getresponse()
        body = response.read(_SHOWN).decode("utf-8", "replace")
    finally:
        connection.close()
    return response.status, " ".join(body.split())


def _address(settings: Settings) -> tuple[str | Path, int]:
    """Where the proxy listens, as far as somebody on this machine is concerned."""
    host: str | Path | None = settings["host"]
    port: int = settings["port"]
    return (HOST if host in {None, "localhost", "0.0.0.0", "::"} else host) or HOST, port  # noqa: S104


def _connect(settings: Settings) -> http.client.HTTPConnection:
    host, port = _address(settings)
    if isinstance(host, Path):
        return _UnixConnection(host)
    if not settings["tls-enabled"]:
        return http.client.HTTPConnection(host, port, timeout=PATIENCE)
    context = ssl.create_default_context()
    # The certificate is for the name that SDKs use, and nobody stands between on loopback.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    certificate: Path | None = settings["tls-cert"]
    if settings.given("tls-client-ca") and certificate is not None:
        context.load_cert_chain(certificate, settings["tls-key"])
    return http.client.HTTPSConnection(host, port, timeout=PATIENCE, context=context)
