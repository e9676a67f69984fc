"""The ways to name a Redis, and what is none of them."""

from pathlib import Path

import pytest

from ff_proxy.config.addresses import (
    HostPort,
    RedisAddress,
    RedisTopology,
    parse_host_port,
    parse_redis_address,
)
from ff_proxy.model.keys import Secret

SINGLE = RedisTopology.SINGLE
A = HostPort("a", 1)
B = HostPort("b", 6379)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("a:1", RedisAddress(SINGLE, (A,))),
        ("b", RedisAddress(SINGLE, (B,))),
        ("[::1]:1", RedisAddress(SINGLE, (HostPort("::1", 1),))),
        ("redis://a:1", RedisAddress(SINGLE, (A,))),
        ("redis://b/3", RedisAddress(SINGLE, (B,), database=3)),
        ("redis://b?db=3", RedisAddress(SINGLE, (B,), database=3)),
        ("rediss://b", RedisAddress(SINGLE, (B,), tls=True)),
        (
            "redis://jane:p%40ss:w@b/",
            RedisAddress(SINGLE, (B,), username="jane", password=Secret("p@ss:w")),
        ),
        ("redis://:pw@b", RedisAddress(SINGLE, (B,), password=Secret("pw"))),
        ("unix:///run/r.sock", RedisAddress(RedisTopology.SOCKET, socket=Path("/run/r.sock"))),
        (
            "unix://jane:pw@/run/r.sock?db=2",
            RedisAddress(
                RedisTopology.SOCKET,
                socket=Path("/run/r.sock"),
                username="jane",
                password=Secret("pw"),
                database=2,
            ),
        ),
        ("a:1, b", RedisAddress(RedisTopology.CLUSTER, (A, B))),
        ("b,b", RedisAddress(RedisTopology.CLUSTER, (B,))),
        ("a:1,", RedisAddress(SINGLE, (A,))),
        (
            "rediss://jane:pw@a:1,rediss://b",
            RedisAddress(RedisTopology.CLUSTER, (A, B), tls=True, username="jane", password=Secret("pw")),
        ),
        (
            "redis+sentinel://a:1,b/main",
            RedisAddress(RedisTopology.SENTINEL, (A, HostPort("b", 26379)), service="main"),
        ),
        (
            "rediss+sentinel://jane:pw@a:1/main/2",
            RedisAddress(
                RedisTopology.SENTINEL,
                (A,),
                service="main",
                tls=True,
                username="jane",
                password=Secret("pw"),
                database=2,
            ),
        ),
    ],
)
def test_a_redis_can_be_named_in_many_ways(text: str, address: RedisAddress) -> None:
    """Server, socket, Cluster, Sentinels; credentials and database where URLs have them."""
    assert parse_redis_address(text) == address


@pytest.mark.parametrize(
    "text",
    [
        ":1",
        "<host:port>",
        "a:b",
        "a:70000",
        "http://a:1",
        "redis://",
        "redis://a/x",
        "redis://a/1/2",
        "redis://a?timeout=1",
        "redis://[::1",
        "unix://run/r.sock",
        "unix:///run/r.sock,a:1",
        "redis+sentinel://a:1",
        "redis+sentinel:///main",
        "redis+sentinel://a:1/main/x",
        "redis://user:hunter2/x@a:1",
        "redis://user:hunter2@a b:1",
        ",",
    ],
)
def test_what_names_no_redis_is_refused_without_being_repeated(text: str) -> None:
    """The words say what it must be; what was given may hold a password."""
    with pytest.raises(ValueError, match=r"^must ") as caught:
        parse_redis_address(text)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a:1", "redis://a:1"),
        ("rediss://jane:pw@b/3", "rediss://jane:***@b:6379?db=3"),
        ("redis://jane@b", "redis://jane@b:6379"),
        ("unix:///run/r.sock", "unix:///run/r.sock"),
        ("a:1,b", "redis+cluster://a:1,b:6379"),
        ("rediss+sentinel://a,b:1/main", "rediss+sentinel://a:26379,b:1/main"),
    ],
)
def test_an_address_is_shown_without_its_password(text: str, shown: str) -> None:
    """For reports and logs."""
    assert str(parse_redis_address(text)) == shown
    assert "pw" not in repr(parse_redis_address(text))


@pytest.mark.parametrize(
    ("text", "host", "loopback"),
    [
        ("127.0.0.1:1", "127.0.0.1", True),
        ("127.9.9.9:1", "127.9.9.9", True),
        ("[::1]:1", "::1", True),
        ("localhost:1", "localhost", True),
        ("0.0.0.0:1", "0.0.0.0", False),
        (":1", "0.0.0.0", False),
        ("10.0.0.1:1", "10.0.0.1", False),
        ("localhost.example:1", "localhost.example", False),
    ],
)
def test_loopback_is_what_only_this_machine_reaches(text: str, host: str, *, loopback: bool) -> None:
    """What decides whether the admin API needs a token."""
    address = parse_host_port(text)
    assert (address.host, address.is_loopback) == (host, loopback)


@pytest.mark.parametrize("text", ["", "a", "a:", "a:x", "a:65536", "::1", "[x]:1", "a b:1", "a:1:2"])
def test_what_is_no_address_is_refused(text: str) -> None:
    """A port is needed, and an IPv6 host stands in brackets."""
    with pytest.raises(ValueError, match=r"^must be host:port"):
        parse_host_port(text)
