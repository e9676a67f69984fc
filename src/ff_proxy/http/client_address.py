"""Finds a request's client address: the peer's, or the one that a trusted proxy reports."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final, final

_LONGEST_FIELD: Final = 4096
# Providers give each customer a /64: with a longer prefix one customer could pose as many clients.
_IPV6_PREFIX: Final = 64


@final
class ClientAddresses:
    """Finds the address that identifies a client.

    Args:
        trusted: networks of the proxies whose ``X-Forwarded-For`` is trusted.
    """

    def __init__(self, trusted: Sequence[IPv4Network | IPv6Network] = ()) -> None:
        self._trusted = tuple(trusted)

    def trust(self, trusted: Sequence[IPv4Network | IPv6Network]) -> None:
        """Replace the trusted networks."""
        self._trusted = tuple(trusted)

    def trusts(self, peer: str) -> bool:
        """Whether ``peer`` is a trusted proxy."""
        if not self._trusted:
            return False
        address = _address(peer)
        return address is not None and self._is_trusted(address)

    def find(self, peer: str, forwarded: bytes | None) -> str:
        """The client's address, its /64 network for IPv6, or an empty string if it is unknown.

        Args:
            peer: the address at the other end of the connection; empty for a Unix socket.
            forwarded: the value of ``X-Forwarded-For``; each proxy appends an address.
        """
        if not self._trusted or forwarded is None or len(forwarded) > _LONGEST_FIELD:
            return _grouped(peer)
        client = peer
        named = forwarded.decode("latin-1").split(",")
        while named and self.trusts(client):
            before = _without_port(named.pop().strip())
            if _address(before) is None:
                break
            client = before
        return _grouped(client)

    def _is_trusted(self, address: IPv4Address | IPv6Address) -> bool:
        return any(address in network for network in self._trusted)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _without_port(text: str) -> str:
    """An entry as proxies write it: ``192.0.2.1``, ``192.0.2.1:4711``, ``[2001:db8::1]:4711``."""
    if text.startswith("["):
        return text[1:].partition("]")[0]
    host, separator, _ = text.partition(":")
    return host if separator and ":" not in text[len(host) + 1 :] else text


def _grouped(text: str) -> str:
    address = _address(text)
    if isinstance(address, IPv6Address):
        return str(IPv6Network((address, _IPV6_PREFIX), strict=False))
    return text if address is None else str(address)
