"""The outbound proxy for a request, from the usual environment variables."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from ff_proxy.errors import StartupError

_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class OutboundProxies:
    """Proxy addresses by scheme (empty: none), and hosts to connect to directly."""

    http: str = ""
    https: str = ""
    direct: tuple[str, ...] = ()

    def proxy_of(self, url: str) -> str:
        """The proxy for ``url``, or an empty string."""
        parts = urlsplit(url)
        proxy = self.https if parts.scheme == "https" else self.http
        host = (parts.hostname or "").rstrip(".")
        try:
            port = parts.port or _PORTS.get(parts.scheme, 0)
        except ValueError:  # not a port: the request will fail
            return proxy
        return "" if any(_names(entry, host, port) for entry in self.direct) else proxy


def outbound_proxies(environ: Mapping[str, str]) -> tuple[OutboundProxies, tuple[str, ...]]:
    """Read ``HTTPS_PROXY``, ``HTTP_PROXY``, ``ALL_PROXY`` and ``NO_PROXY``; also returns warnings.

    Lower-case names take precedence. Each entry of ``NO_PROXY`` is a host (with its subdomains), ``.host``
    (only its subdomains), an address, a network such as ``10.0.0.0/8``, any of them with ``:port``, or ``*``.
    ``ALL_PROXY`` may name a SOCKS proxy for others: it is ignored with a warning.

    Raises ``StartupError`` for what else cannot be the address of an HTTP proxy: credentials would go another
    way than the one that was asked for.
    """
    warnings = []
    # Under CGI, a client's ``Proxy`` header arrives under this name.
    cgi = "REQUEST_METHOD" in environ
    plain = environ.get("http_proxy", "").strip() if cgi else _read(environ, "HTTP_PROXY")
    fallback = _read(environ, "ALL_PROXY")
    if fallback.lower().startswith("socks"):
        warnings.append("ALL_PROXY names a SOCKS proxy and is ignored: set HTTPS_PROXY to an HTTP proxy")
        fallback = ""
    fallback = _usable("ALL_PROXY", fallback)
    direct = tuple(entry for part in _read(environ, "NO_PROXY").split(",") if (entry := part.strip().lower()))
    found = OutboundProxies(
        http=_usable("HTTP_PROXY", plain) or fallback,
        https=_usable("HTTPS_PROXY", _read(environ, "HTTPS_PROXY")) or fallback,
        direct=direct,
    )
    return found, tuple(warnings)


def _read(environ: Mapping[str, str], name: str) -> str:
    return (environ.get(name.lower()) or environ.get(name) or "").strip()


def _with_scheme(address: str) -> str:
    return address if not address or "://" in address else f"http://{address}"


def _usable(name: str, address: str) -> str:
    if address and not _is_proxy(address):
        raise StartupError(
            f"{name} must be the address of an HTTP proxy, such as http://proxy.example.com:3128"
        )
    return _with_scheme(address)


def _is_proxy(address: str) -> bool:
    try:
        parts = urlsplit(_with_scheme(address))
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # an open bracket, or a port that is none
        return False


def _names(entry: str, host: str, port: int) -> bool:
    """Whether an entry of ``NO_PROXY`` matches this host and port."""
    if entry == "*":
        return True
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        pass  # one of the two is a name, or a port follows
    name, separator, digits = entry.rpartition(":")
    if separator and digits.isdigit() and not name.endswith(":"):
        return int(digits) == port and _names(name, host, port)
    below = entry.removeprefix("*")
    if below.startswith("."):
        return host.endswith(below)
    return host == below or host.endswith(f".{below}")
