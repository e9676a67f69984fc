"""Addresses in options: hosts, networks, and every form of a Redis address.

See spec/behaviour#options.
"""

import ipaddress
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from ff_proxy.config.pasted_addresses import pasted_notation
from ff_proxy.model.keys import Secret
from ff_proxy.model.redis import Topology

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

REDIS_PORT: Final = 6379
SENTINEL_PORT: Final = 26379
MAX_PORT: Final = 65535

_FORMS: Final = (
    "must be host:port, redis://host:port, rediss://host:port (TLS), unix:///path/to/socket, "
    "several of them separated by commas (Cluster), or redis+sentinel://host1,host2/service"
)


@dataclass(frozen=True, slots=True)
class HostPort:
    """A TCP address; an IPv6 host has no brackets."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect to it."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """Where Redis is, with the credentials and database of its URL, if any.

    ``nodes`` are the server, the Cluster's seed nodes, or the Sentinels; empty for a socket. ``service`` is
    the Sentinels' name for the primary.
    """

    topology: Topology
    nodes: tuple[HostPort, ...] = ()
    socket: Path | None = None
    service: str = ""
    tls: bool = False
    username: str = ""
    password: Secret | None = field(default=None)
    database: int | None = None

    def __str__(self) -> str:
        scheme = self.topology.value.replace("redis", "rediss", 1) if self.tls else self.topology.value
        # Without a colon it may be a user name, or a password whose colon was forgotten.
        credentials = f"{self.username}:***@" if self.password else "***@" if self.username else ""
        place = str(self.socket) if self.socket else ",".join(map(str, self.nodes))
        service = f"/{self.service}" if self.service else ""
        database = "" if self.database is None else f"?db={self.database}"
        return f"{scheme}://{credentials}{place}{service}{database}"


def parse_host_port(text: str, default_port: int | None = None) -> HostPort:
    """Parse ``host:port``, ``[ipv6]:port`` or ``:port`` (all interfaces); raises ``ValueError``."""
    match = re.fullmatch(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)]|(?P<host>[\w.-]*))(?::(?P<port>[0-9]{1,5}))?", text)
    if match is None:
        raise ValueError("must be host:port")
    host = match["six"] or match["host"] or "0.0.0.0"  # noqa: S104  (asked for by an empty host, as in Go)
    port = int(match["port"]) if match["port"] else default_port
    if port is None or port > MAX_PORT or not text:
        raise ValueError(f"must be host:port with a port from 0 to {MAX_PORT}")
    return HostPort(host, port)


def parse_bind_host(text: str) -> str | Path:
    """An IP address or ``localhost`` to listen on, or the path of a Unix socket (``unix:/path``)."""
    if text.startswith("unix:"):
        path = re.sub(r"^unix:(//)?", "", text)
        if not path.startswith("/") or path.endswith("/"):
            raise ValueError(
                "must have the absolute path of a socket after unix:, as in unix:/run/ff-proxy.sock"
            )
        return Path(path)
    host = text.lower().removeprefix("[").removesuffix("]")
    if host == "localhost":
        return host
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        raise ValueError("must be an IP address of this machine, localhost, or unix:/path") from None


def parse_networks(text: str) -> tuple[Network, ...]:
    """IP addresses and networks (``10.0.0.0/8``), separated by commas."""
    networks = []
    for item in filter(None, map(str.strip, text.split(","))):
        try:
            networks.append(ipaddress.ip_network(item, strict=False))
        except ValueError:
            raise ValueError(
                f"must be IP addresses or networks such as 10.0.0.0/8, separated by commas: {item!r} is none"
            ) from None
    if not networks:
        raise ValueError("must contain at least one address")
    return tuple(dict.fromkeys(networks))


def parse_redis_address(text: str) -> RedisAddress:
    """Read any form of Redis address (spec/behaviour#options).

    ``ValueError`` says what it must be, without any part of ``text``.
    """
    notation = pasted_notation(text)
    if notation is not None:
        raise ValueError(notation)
    if re.match(r"rediss?\+sentinel://", text):
        return _sentinel(_split(text))
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts:
        raise ValueError(_FORMS)
    addresses = [_single(part) for part in parts]
    first = addresses[0]
    if len(addresses) == 1:
        return first
    if any(address.topology is Topology.SOCKET for address in addresses):
        raise ValueError("must not mix unix:// with other addresses: a Cluster is reached over TCP")
    return RedisAddress(
        Topology.CLUSTER,
        nodes=tuple(dict.fromkeys(node for address in addresses for node in address.nodes)),
        tls=first.tls,
        username=first.username,
        password=first.password,
        database=first.database,
    )


def _split(text: str) -> SplitResult:
    try:
        return urlsplit(text)
    except ValueError:  # its message may contain credentials
        raise ValueError(_FORMS) from None


def _single(text: str) -> RedisAddress:
    if "://" not in text:
        return RedisAddress(Topology.SINGLE, nodes=(_node(text, REDIS_PORT),))
    url = _split(text)
    username, password = _credentials(url)
    if url.scheme == "unix":
        if not url.path or url.netloc.rpartition("@")[2]:
            raise ValueError("must have three slashes and a path after unix:, as in unix:///run/redis.sock")
        return RedisAddress(
            Topology.SOCKET,
            socket=Path(unquote(url.path)),
            username=username,
            password=password,
            database=_database("", url.query),
        )
    if url.scheme not in {"redis", "rediss"}:
        raise ValueError(_FORMS)
    return RedisAddress(
        Topology.SINGLE,
        nodes=(_node(url.netloc.rpartition("@")[2], REDIS_PORT),),
        tls=url.scheme == "rediss",
        username=username,
        password=password,
        database=_database(url.path.strip("/"), url.query),
    )


def _sentinel(url: SplitResult) -> RedisAddress:
    username, password = _credentials(url)
    hosts = [host.strip() for host in url.netloc.rpartition("@")[2].split(",") if host.strip()]
    service, _, database = url.path.strip("/").partition("/")
    if not hosts or not service:
        raise ValueError("must name the Sentinels and the service: redis+sentinel://host1,host2/service")
    return RedisAddress(
        Topology.SENTINEL,
        nodes=tuple(_node(host, SENTINEL_PORT) for host in hosts),
        service=unquote(service),
        tls=url.scheme.startswith("rediss"),
        username=username,
        password=password,
        database=_database(database, url.query),
    )


def _node(text: str, default_port: int) -> HostPort:
    if not text or text.startswith(":"):
        raise ValueError(_FORMS)
    try:
        return parse_host_port(text, default_port)
    except ValueError:
        raise ValueError(_FORMS) from None


def _credentials(url: SplitResult) -> tuple[str, Secret | None]:
    username, _, password = url.netloc.rpartition("@")[0].partition(":")
    return unquote(username), Secret(unquote(password)) if password else None


def _database(path: str, query: str) -> int | None:
    parameters = dict(parse_qsl(query, keep_blank_values=True))
    text = parameters.pop("db", path)
    if parameters:
        raise ValueError("must not have parameters other than ?db=")
    if not text:
        return None
    if not re.fullmatch(r"\d{1,6}", text, re.ASCII):
        raise ValueError("must have a number as its database, as in redis://host:6379/2")
    return int(text)
