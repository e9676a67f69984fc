"""The ways to name a Redis, and what is none of them."""

import io
import traceback
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ff_proxy.commands.print_config import print_config
from ff_proxy.config.addresses import (
    HostPort,
    RedisAddress,
    parse_host_port,
    parse_redis_address,
)
from ff_proxy.config.settings import read_settings
from ff_proxy.errors import ConfigError
from ff_proxy.model.keys import Secret
from ff_proxy.model.redis import Topology
from tests.support.config_ways import ONLINE, as_environment, as_flags, reader

SINGLE = Topology.SINGLE
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
        ("unix:///run/r.sock", RedisAddress(Topology.SOCKET, socket=Path("/run/r.sock"))),
        (
            "unix://jane:pw@/run/r.sock?db=2",
            RedisAddress(
                Topology.SOCKET,
                socket=Path("/run/r.sock"),
                username="jane",
                password=Secret("pw"),
                database=2,
            ),
        ),
        ("a:1, b", RedisAddress(Topology.CLUSTER, (A, B))),
        ("b,b", RedisAddress(Topology.CLUSTER, (B,))),
        ("a:1,", RedisAddress(SINGLE, (A,))),
        (
            "rediss://jane:pw@a:1,rediss://b",
            RedisAddress(Topology.CLUSTER, (A, B), tls=True, username="jane", password=Secret("pw")),
        ),
        (
            "redis+sentinel://a:1,b/main",
            RedisAddress(Topology.SENTINEL, (A, HostPort("b", 26379)), service="main"),
        ),
        (
            "rediss+sentinel://jane:pw@a:1/main/2",
            RedisAddress(
                Topology.SENTINEL,
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
        ("redis://jane@b", "redis://***@b:6379"),
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


SECRET = "hunter2Zz"
_HOSTS = st.from_regex(r"[a-z][a-z0-9-]{0,10}(\.[a-z]{2,8}){0,3}", fullmatch=True)
_PARTS = st.lists(
    st.sampled_from(["ssl=True", "abortConnect=False", "timeout=5000", "db=0", "user=jane", "Ssl = true"]),
    max_size=4,
)


@st.composite
def _pasted(draw: st.DrawFn) -> str:
    """An address in the notation of another program, with a password in it."""
    host, port = draw(_HOSTS), draw(st.integers(1, 65535))
    key = draw(st.sampled_from(["password", "Password", "pwd", "auth", "AccessKey", "password "]))
    value = SECRET + draw(st.sampled_from(["", "=", "==", "%3D", "+/="]))
    parts = draw(st.permutations([f"{key}={value}", *draw(_PARTS)]))
    notations = [
        ",".join([f"{host}:{port}", *parts]),
        ", ".join([host, *parts]),
        ";".join([f"host={host}", f"port={port}", *parts]),
        " ".join([f"host={host}", f"port={port}", *parts]),
        ",".join([*parts, f"{host}:{port}"]),
        f"redis-cli -h {host} -p {port} -a {value}",
        f"-h {host} -p {port} -a {value}",
        f"redis-cli -u redis://:{value}@{host}:{port}",
        f"--tls -h {host} --pass {value}",
        f"jdbc:redis://{host}:{port}?password={value}",
        f"jdbc:redis://jane:{value}@{host}",
        f"REDIS_URL=redis://:{value}@{host}",
        f'"redis://:{value}@{host}"',
        f"jane:{value}@{host}:{port}",
        f":{value}@{host}",
        f"{value}@{host}",
        f"{host}:{port}:{value}",
        f"{host}:{value}",
        f"redis://{host}:{port}?password={value}",
        f"redis://:{value}@{host}:{port}:{port}",
        f"redis://jane:{value}@{host} extra",
        f"redis://{host}:{port}/{value}",
        f"redis://:{value},other@{host}",
        f"tcp://:{value}@{host}",
        f"{host}:{port};password {value}",
    ]
    return draw(st.sampled_from(notations))


@settings(max_examples=40, deadline=None)
@given(text=_pasted())
def test_what_other_programs_write_is_refused_without_being_repeated(text: str) -> None:
    """The message says what to write, the report of the options masks it, and no trace holds it."""
    values = {**ONLINE, "redis-address": text}
    for said in (as_flags(values), as_environment(values)):
        with pytest.raises(ConfigError) as caught:
            said.load()
        trace = "".join(traceback.format_exception(caught.value))
        assert SECRET not in trace
        (problem,) = caught.value.problems
        assert problem.startswith("redis-address")
        shown = io.StringIO()
        with pytest.raises(ConfigError):
            print_config(read_settings(said.argv, said.environ or {}, reader({})), shown)
        assert SECRET not in shown.getvalue()


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("name.redis.cache.windows.net:6380,password=x=,ssl=True,abortConnect=False", "redis-password"),
        ("redis-cli -h a -p 1 -a x", "redis-cli"),
        ("jdbc:redis://a", "JDBC"),
        ("jane:x@a:1", "redis://USER:PASSWORD@host:port"),
        ("REDIS_URL=redis://a", "variable"),
        ("a:1;b:1", "commas"),
    ],
)
def test_the_way_out_is_named(text: str, hint: str) -> None:
    """Of the notation that somebody pasted."""
    with pytest.raises(ValueError, match=hint):
        parse_redis_address(text)


def test_a_name_that_may_be_a_password_is_not_shown() -> None:
    """``redis://secret@host`` is how one writes a user; many mean the password."""
    assert SECRET not in str(parse_redis_address(f"redis://{SECRET}@a:1"))
