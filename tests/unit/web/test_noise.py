"""Requests that differ from earlier ones in nothing but ids and traces."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ff_proxy.web.head import read_head
from ff_proxy.web.noise import Noise
from ff_proxy.web.sieve import MOST_NOISE, Sieve
from tests.support.configs import ENVIRONMENT, config, flag
from tests.support.web import Site, connected, message, serving

TRACED = Noise((b"X-Trace", b"X-Request-ID"), b"X-Request-ID")
FLAGS = f"/client/env/{ENVIRONMENT}/feature-configs"
# More lines of one name than a sieve remembers.
MANY = 300


def head(*lines: bytes) -> bytes:
    """A head of these fields."""
    return b"\r\n".join((b"GET /a HTTP/1.1", *lines, b"", b""))


def test_it_is_cut_out() -> None:
    """One line of each name, wherever it stands; the value of the id is told."""
    rest = head(b"Host: a", b"Via: b")
    assert TRACED.cut(head(b"X-Trace: 1", b"Host: a", b"X-Request-ID: 2", b"Via: b")) == (rest, b" 2")
    assert TRACED.cut(head(b"Host: a", b"X-Request-ID:", b"Via: b", b"X-Trace:")) == (rest, b"")
    assert Noise((b"X-Trace",), None).cut(head(b"X-Trace: 1")) == (head(), None)


@pytest.mark.parametrize(
    "fields",
    [
        (b"X-Trace: 1",),
        (b"X-Trace: 1", b"x-request-id: 2"),
        (b"X-Trace: 1", b"X-Request-ID : 2"),
        (b"X-Trace: 1", b"X-Request-ID: 2\x00"),
        (b"X-Trace: 1\n2", b"X-Request-ID: 2"),
        (b"X-Trace: 1\r2", b"X-Request-ID: 2"),
    ],
)
def test_what_is_not_as_before_is_left_alone(fields: tuple[bytes, ...]) -> None:
    """A name that is missing or spelled otherwise, a character that may not be there."""
    assert TRACED.cut(head(*fields)) is None


@given(
    st.lists(st.sampled_from([b"X-Trace:", b"X-Request-ID:", b"\r\n", b"\n", b" ", b"a", b"b: c", b"\xe9"]))
)
def test_only_what_leaves_a_head_is_one(parts: list[bytes]) -> None:
    """Cutting makes no head of what was none, and no other request of one."""
    data = b"GET /a HTTP/1.1\r\nHost: a\r\n" + b"".join(parts) + b"\r\n\r\n"
    cut = TRACED.cut(data)
    if cut is None:
        return
    before, after = read_head(data), read_head(cut[0])
    # Several empty lines at the end belong to the next request: no reader of one head is given them.
    assert (before is None) is (after is None)
    if before is not None and after is not None:
        ignored = {b"x-trace", b"x-request-id"}
        assert {name: value for name, value in before.head.fields.items() if name not in ignored} == {
            name: value for name, value in after.head.fields.items() if name not in ignored
        }


def test_clients_that_are_alike_share_it() -> None:
    """And heads with very many such lines have none."""
    sieve = Sieve()
    one, other = (sieve.noise([b"A: %d" % number, b"B: x"], b"B: x") for number in range(2))
    assert one is other is not None
    assert sieve.noise([b"B: x", b"A: 1"], None) is not one
    assert sieve.noise([b"N%d: x" % number for number in range(MOST_NOISE + 1)], None) is None


async def test_every_request_gets_its_own_id_back() -> None:
    """However many there were; an id that cannot be echoed is not, and nothing else differs."""
    async with serving(Site(), config(flag("a"))) as site, connected(site) as wire:
        bodies = set()
        fields = site.bearer() | {"X-Trace": "t"}
        for number in range(MANY):
            traced = fields | {"X-Trace": f"t{number}", "X-Request-ID": f"id {number}"}
            await wire.send(message("GET", FLAGS, traced))
            answer = await wire.response()
            assert (answer.status, answer.field("x-request-id")) == (200, f"id {number}")
            bodies.add(answer.body)
        assert len(bodies) == 1
        await wire.send(message("GET", FLAGS, fields | {"X-Request-ID": ""}))
        assert (await wire.response()).field("x-request-id") is None


async def test_traces_do_not_hide_what_matters() -> None:
    """After many alike, one with another tag, token or path gets its own answer, and one that is odd none."""
    async with serving(Site(), config(flag("a"))) as site, connected(site) as wire:
        tag = ""
        for number in range(MANY):
            await wire.send(message("GET", FLAGS, site.bearer() | {"X-Trace": f"t{number}"}))
            tag = (await wire.response()).field("etag") or ""
        for path, fields, status in (
            (FLAGS, site.bearer() | {"If-None-Match": tag}, 304),
            (f"{FLAGS}/none", site.bearer(), 404),
            (FLAGS, {"Authorization": "Bearer x"}, 401),
            (FLAGS, site.bearer(), 200),
            (FLAGS, site.bearer() | {"X-Trace": "t\x01"}, 400),
        ):
            await wire.send(message("GET", path, {"X-Trace": "new", **fields}))
            assert (await wire.response()).status == status
