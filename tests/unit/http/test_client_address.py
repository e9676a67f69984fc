"""Whose request it is."""

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ff_proxy.http.client_address import ClientAddresses

INSIDE = ClientAddresses([ip_network("10.0.0.0/8"), ip_network("fd00::/8"), ip_network("192.0.2.7/32")])


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("198.51.100.1", None, "198.51.100.1"),
        ("198.51.100.1", b"203.0.113.9", "198.51.100.1"),
        ("10.1.1.1", b"203.0.113.9", "203.0.113.9"),
        ("10.1.1.1", b"1.1.1.1, 203.0.113.9", "203.0.113.9"),
        ("10.1.1.1", b"1.1.1.1, 203.0.113.9, 10.2.2.2", "203.0.113.9"),
        ("10.1.1.1", b"1.1.1.1,203.0.113.9:4711 , 192.0.2.7", "203.0.113.9"),
        ("10.1.1.1", b"[2001:db8:1:2:3::4]:4711", "2001:db8:1:2::/64"),
        ("fd00::1", b"2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("::ffff:10.1.1.1", b"203.0.113.9", "203.0.113.9"),
        ("::ffff:198.51.100.1", b"203.0.113.9", "198.51.100.1"),
        ("2001:db8:1:2:3::4", None, "2001:db8:1:2::/64"),
        ("10.1.1.1", b"unknown", "10.1.1.1"),
        ("10.1.1.1", b"203.0.113.9, junk", "10.1.1.1"),
        ("10.1.1.1", b"10.3.3.3, 10.2.2.2", "10.3.3.3"),
        ("10.1.1.1", b"", "10.1.1.1"),
        ("10.1.1.1", b"203.0.113.9" + b" " * 5000, "10.1.1.1"),
        ("", b"203.0.113.9", ""),
    ],
)
def test_only_trusted_proxies_report_a_client_address(
    peer: str, forwarded: bytes | None, client: str
) -> None:
    """The last address that is not a trusted proxy; IPv6 by network, and unreadable entries are ignored."""
    assert INSIDE.find(peer, forwarded) == client


@given(st.binary(max_size=200))
def test_any_forwarded_value_is_handled(forwarded: bytes) -> None:
    """An untrusted peer's header is ignored, and a proxy's never raises."""
    assert ClientAddresses().find("10.1.1.1", forwarded) == "10.1.1.1"
    assert INSIDE.find("198.51.100.1", forwarded) == "198.51.100.1"
    assert INSIDE.find("10.1.1.1", forwarded)


def test_trusted_networks() -> None:
    """Members of the configured networks, in any notation."""
    assert INSIDE.trusts("10.9.9.9")
    assert INSIDE.trusts("::ffff:10.9.9.9")
    assert not INSIDE.trusts("11.0.0.1")
    assert not INSIDE.trusts("")
    assert not ClientAddresses().trusts("10.9.9.9")


@given(st.ip_addresses(), st.sampled_from(["", "%eth0"]))
def test_a_peer_is_grouped_as_the_standard_library_would(
    address: IPv4Address | IPv6Address, zone: str
) -> None:
    """An IPv4 address stays, also one that is mapped to IPv6; of others the network counts."""
    if isinstance(address, IPv4Address):
        assert ClientAddresses().find(str(address), None) == str(address)
        assert ClientAddresses().find(f"::ffff:{address}", None) == str(address)
    elif address.ipv4_mapped is None:
        network = IPv6Network((address, 64), strict=False)
        assert ClientAddresses().find(f"{address}{zone}", None) == str(network)
