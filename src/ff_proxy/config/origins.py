"""Parsing ``cors-allowed-origins``."""

import re
from typing import Final
from urllib.parse import urlsplit

from ff_proxy.config.addresses import MAX_PORT

ANY: Final = "*"
OPAQUE: Final = "null"

_FORM: Final = (
    "must be *, null, or origins such as https://app.example.com, https://app.example.com:8443 or "
    "https://*.example.com, separated by commas"
)
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*")
_LABEL: Final = r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?"
_HOST: Final = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*\.?")
_IPV6: Final = re.compile(r"\[[0-9a-f:.]+]")


def parse_origins(text: str) -> tuple[str, ...]:
    """Parse a list of origins into the form that browsers send: lower case, no default port, Punycode hosts.

    ``https://*.example.com`` matches every subdomain of ``example.com``. Raises ``ValueError`` for an origin
    that no browser can send.
    """
    origins = tuple(dict.fromkeys(_origin(item) for part in text.split(",") if (item := part.strip())))
    if not origins:
        raise ValueError("must contain at least one origin")
    return origins


def _origin(text: str) -> str:
    if text in {ANY, OPAQUE}:
        return text
    try:
        parts = urlsplit(text)
        host, port = _host(parts.netloc), parts.port
    except ValueError:
        raise ValueError(f"{_FORM}: {text!r} can never match") from None
    bare = f"{parts.scheme}://{parts.netloc}".casefold() == text.casefold()
    if not bare or not _SCHEME.fullmatch(parts.scheme) or port == 0:
        why = "has a path or a final /" if parts.scheme and parts.netloc else "can never match"
        raise ValueError(f"{_FORM}: {text!r} {why}")
    shown = "" if port is None or port == _DEFAULT_PORTS.get(parts.scheme) else f":{port}"
    return f"{parts.scheme}://{host}{shown}"


def _host(netloc: str) -> str:
    host, colon, port = netloc.rpartition(":")
    if not colon or netloc.endswith("]"):
        host = netloc
    elif not re.fullmatch(r"\d{1,5}", port, re.ASCII) or int(port) > MAX_PORT:
        raise ValueError
    host = host.lower()
    if not host.isascii():
        host = host.encode("idna").decode()
    if not _HOST.fullmatch(host) and not _IPV6.fullmatch(host):
        raise ValueError
    return host
