"""Which outbound proxy a request goes through."""

import ipaddress
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ff_proxy.errors import StartupError
from ff_proxy.upstream.outbound_proxy import OutboundProxies, outbound_proxies
from ff_proxy.upstream.transport import origin

PROXY = "http://proxy.test:3128"


@pytest.mark.parametrize(
    ("environ", "plain", "secure"),
    [
        ({}, "", ""),
        ({"HTTPS_PROXY": PROXY}, "", PROXY),
        ({"https_proxy": PROXY}, "", PROXY),
        ({"HTTP_PROXY": PROXY}, PROXY, ""),
        ({"ALL_PROXY": PROXY}, PROXY, PROXY),
        ({"ALL_PROXY": PROXY, "HTTPS_PROXY": "http://other:1"}, PROXY, "http://other:1"),
        ({"HTTPS_PROXY": "proxy.test:3128"}, "", PROXY),
        ({"https_proxy": PROXY, "HTTPS_PROXY": "http://other:1"}, "", PROXY),
        ({"HTTP_PROXY": PROXY, "REQUEST_METHOD": "GET"}, "", ""),
        ({"HTTPS_PROXY": "  "}, "", ""),
    ],
)
def test_variables(environ: dict[str, str], plain: str, secure: str) -> None:
    """In both cases of letters; the one for the scheme before the one for all."""
    found, warnings = outbound_proxies(environ)
    assert (found.proxy_of("http://saas.test/x"), found.proxy_of("https://saas.test/x")) == (plain, secure)
    assert warnings == ()


@pytest.mark.parametrize("scheme", ["socks5", "socks5h", "socks4", "SOCKS"])
def test_a_socks_proxy_for_all_is_ignored_with_a_warning(scheme: str) -> None:
    """Without its address, which may hold a password."""
    found, (warning,) = outbound_proxies({"ALL_PROXY": f"{scheme}://user:secret@host:1080"})
    assert found.proxy_of("https://saas.test/") == ""
    assert "ALL_PROXY" in warning
    assert "secret" not in warning


@pytest.mark.parametrize("name", ["HTTP_PROXY", "https_proxy", "ALL_PROXY"])
@pytest.mark.parametrize(
    "address",
    [
        *("http://[", "http://u:secret@[::1", "[::1", "http://[secret]", "http://", "http://:3128"),
        *(
            "http://secret:x",
            "secret:99999",
            "secret:0",
            "ftp://secret",
            "http://\N{ACCOUNT OF}",
        ),
    ],
)
def test_what_is_no_address_of_a_proxy_is_refused(name: str, address: str) -> None:
    """Otherwise each request would fail, some in a way that looks like a fault of ours, or go another way."""
    with pytest.raises(StartupError, match=f"^{name.upper()} must be the address") as refused:
        outbound_proxies({name: address})
    assert "secret" not in str(refused.value)


@given(address=st.text() | st.text("htps:/[]@.0123456789"))
def test_every_proxy_in_use_can_be_named(address: str) -> None:
    """Messages about requests through it do so."""
    try:
        found, warnings = outbound_proxies({"ALL_PROXY": address})
    except StartupError:
        return
    assert bool(found.http) == bool(address.strip() and not warnings)
    assert bool(found.http) == bool(urlsplit(found.http).hostname)
    assert bool(found.http) == bool(origin(found.http).strip(":/"))


@pytest.mark.parametrize(
    ("entry", "url", "direct"),
    [
        ("*", "https://saas.test/", True),
        ("saas.test", "https://saas.test/", True),
        ("saas.test", "https://SAAS.test./", True),
        ("SAAS.TEST", "https://saas.test/", True),
        ("saas.test", "https://eu.saas.test/", True),
        ("saas.test", "https://notsaas.test/", False),
        (".saas.test", "https://eu.saas.test/", True),
        (".saas.test", "https://saas.test/", False),
        ("*.saas.test", "https://eu.saas.test/", True),
        ("*.saas.test", "https://saas.test/", False),
        ("saas.test:443", "https://saas.test/", True),
        ("saas.test:8443", "https://saas.test/", False),
        ("saas.test:80", "http://saas.test/", True),
        ("10.1.2.3", "https://10.1.2.3/", True),
        ("10.0.0.0/8", "https://10.1.2.3/", True),
        ("10.0.0.0/8", "https://11.1.2.3/", False),
        ("10.1.2.3:8443", "https://10.1.2.3:8443/", True),
        ("::1", "https://[::1]/", True),
        ("[::1]", "https://[::1]/", True),
        ("[::1]:8443", "https://[::1]:8443/", True),
        ("[::1]:8443", "https://[::1]/", False),
        ("fd00::/8", "https://[fd12::1]/", True),
        ("one.test, saas.test ,", "https://saas.test/", True),
        ("", "https://saas.test/", False),
    ],
)
def test_direct_connections(entry: str, url: str, direct: bool) -> None:
    """Hosts, domains, addresses, networks, with and without a port."""
    found, _ = outbound_proxies({"ALL_PROXY": PROXY, "NO_PROXY": entry})
    assert found.proxy_of(url) == ("" if direct else PROXY)


@given(address=st.ip_addresses(), bits=st.integers(0, 32))
def test_an_address_is_in_the_network_around_it(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, bits: int
) -> None:
    """In both families."""
    host = f"[{address}]" if address.version == 6 else str(address)
    proxies = OutboundProxies(https=PROXY, direct=(f"{address}/{bits}",))
    assert proxies.proxy_of(f"https://{host}/") == ""


@given(entry=st.text(max_size=20), host=st.from_regex(r"[a-z0-9.\-]{1,15}", fullmatch=True))
def test_an_invalid_entry_matches_nothing(entry: str, host: str) -> None:
    """A typo in one variable must not break the connection to Harness."""
    assert OutboundProxies(https=PROXY, direct=(entry,)).proxy_of(f"https://{host}/") in {"", PROXY}
