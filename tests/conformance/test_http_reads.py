"""Flags, segments and evaluations over the wire.

See spec/behaviour#endpoints, spec/behaviour#paths-and-caching; spec/sdk-wire#bodies,
spec/sdk-wire#target-transport.
"""

import base64
import json
import zlib
from collections.abc import AsyncIterator

import pytest

from ff_proxy.api.access import TokenAccess
from ff_proxy.model.target import Target
from ff_proxy.store.protocol import PutItem
from tests.support.configs import ENVIRONMENT, config, flag, segment
from tests.support.web import Response, Site, ask, serving

ENV = f"/client/env/{ENVIRONMENT}"
SERVING_RULES = [
    {"ruleId": "r", "priority": 1, "clauses": [{"attribute": "plan", "op": "equal", "values": ["gold"]}]}
]
GOLD = [
    {
        "priority": 0,
        "clauses": [{"attribute": "plan", "op": "equal", "values": ["gold"]}],
        "serve": {"variation": "true"},
    }
]


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """A proxy with three flags (``gold`` is true for targets whose plan is gold) and a segment."""
    items = (
        flag("b", on=False),
        flag("a"),
        flag("gold", defaultServe={"variation": "false"}, rules=GOLD),
        segment("beta", servingRules=SERVING_RULES, rules=[]),
    )
    async with serving(Site(), config(*items)) as running:
        yield running


async def get(site: Site, path: str, **headers: str) -> Response:
    """An authorized GET; underscores in ``headers`` stand for hyphens."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await ask(site, "GET", path, site.bearer() | named)


def sent(target: object) -> str:
    """A target as JavaScript sends it in a header."""
    return base64.b64encode(json.dumps(target).encode()).decode()


async def test_all_flags(site: Site) -> None:
    """A bare array in identifier order, with everything an SDK or a cache needs to know."""
    got = await get(site, f"{ENV}/feature-configs?cluster=1")
    assert got.status == 200
    assert [one["feature"] for one in got.json()] == ["a", "b", "gold"]
    assert got.field("content-type") == "application/json"
    assert got.field("cache-control") == "private, no-cache"
    assert got.field("vary") == "Authorization, Accept-Encoding"
    assert got.field("access-control-allow-origin") == "*"
    assert got.field("etag")
    assert got.field("date")
    assert got.field("x-request-id") is None


async def test_an_empty_environment_gives_empty_arrays() -> None:
    """Not ``null``, not 204 (spec/sdk-wire#bodies)."""
    async with serving(Site(), config()) as site:
        for path in ("feature-configs", "target-segments", "target/t/evaluations"):
            got = await get(site, f"{ENV}/{path}")
            assert (got.status, got.body) == (200, b"[]")


async def test_one_flag(site: Site) -> None:
    """A bare object."""
    got = await get(site, f"{ENV}/feature-configs/a")
    assert (got.status, got.json()["feature"]) == (200, "a")


@pytest.mark.parametrize(
    "path", ["feature-configs/x", "target-segments/x", "target/t/evaluations/x", "nothing-like-it"]
)
async def test_what_is_not_there_is_404(site: Site, path: str) -> None:
    """In the errors' form, with CORS, whatever is missing."""
    got = await get(site, f"{ENV}/{path}")
    assert got.status == 404
    assert got.json()["code"] == "404"
    assert got.json().keys() == {"code", "message", "error"}
    assert got.field("content-type") == "application/json"
    assert got.field("access-control-allow-origin") == "*"


@pytest.mark.parametrize("suffix", ["", "/beta"])
async def test_segments_come_in_two_forms(site: Site, suffix: str) -> None:
    """``servingRules`` for those who ask for exactly ``v2``, ``rules`` for everybody else."""

    async def one(query: str) -> dict[str, object]:
        found = (await get(site, f"{ENV}/target-segments{suffix}{query}")).json()
        return dict(found[0] if isinstance(found, list) else found)

    for query in ("?rules=v2", "?cluster=1&rules=v2", "?cluster=1;rules=v2;x", "?rules=v2&rules=v1"):
        v2 = await one(query)
        assert v2["servingRules"] == [SERVING_RULES[0] | {"clauses": v2["servingRules"][0]["clauses"]}]  # type: ignore[index]  # it is a list
        assert "rules" not in v2
    for query in ("", "?rules=v1", "?rules=", "?rules=V2", "?rulesx=v2", "?rules=v22", "?rules=%C2%A1"):
        legacy = await one(query)
        assert "rules" in legacy
        assert "servingRules" not in legacy


async def test_evaluations_have_exactly_four_fields(site: Site) -> None:
    """Android rejects the whole answer otherwise; the order is stable."""
    got = await get(site, f"{ENV}/target/jane/evaluations")
    assert got.status == 200
    assert got.json() == [
        {"flag": "a", "kind": "boolean", "value": "true", "identifier": "true"},
        {"flag": "b", "kind": "boolean", "value": "false", "identifier": "false"},
        {"flag": "gold", "kind": "boolean", "value": "false", "identifier": "false"},
    ]
    assert got.field("vary") == "Authorization, Accept-Encoding, Harness-Target"


async def test_one_evaluation(site: Site) -> None:
    """A bare object."""
    got = await get(site, f"{ENV}/target/jane/evaluations/a")
    assert got.json() == {"flag": "a", "kind": "boolean", "value": "true", "identifier": "true"}


async def test_a_flag_without_a_variation_is_left_out(site: Site) -> None:
    """Of the list, and 404 alone; and counted."""
    broken = flag("broken", defaultServe={"variation": "no such"})
    await site.store.configs.apply(ENVIRONMENT, PutItem(broken))
    await site.snapshots.resync()
    everything = await get(site, f"{ENV}/target/jane/evaluations")
    alone = await get(site, f"{ENV}/target/jane/evaluations/broken")
    assert "broken" not in [one["flag"] for one in everything.json()]
    assert alone.status == 404
    line = f'ff_proxy_evaluations_unresolved_total{{envID="{ENVIRONMENT}"}} 2.0'
    assert line in site.telemetry.exposition().decode()


async def gold(site: Site, path: str, **headers: str) -> bool:
    """Whether the flag ``gold`` is true."""
    got = await get(site, f"{ENV}/target/{path}/evaluations/gold", **headers)
    assert got.status == 200
    return bool(got.json()["value"] == "true")


async def test_a_target_sent_along_comes_before_a_stored_one(site: Site) -> None:
    """Header, then store, then the identifier alone (spec/behaviour#targets)."""
    assert not await gold(site, "jane")
    await site.store.targets.put(ENVIRONMENT, Target("jane", attributes={"plan": "gold"}))
    assert await gold(site, "jane")
    assert not await gold(site, "jane", Harness_Target=sent({"identifier": "jane"}))
    assert not await gold(site, "joe")
    assert await gold(site, "joe", Harness_Target=sent({"identifier": "joe", "attributes": {"plan": "gold"}}))


@pytest.mark.parametrize(
    "header",
    [
        "",
        "not base64!",
        base64.b64encode(b"not json").decode(),
        sent([1]),
        sent({"attributes": {}}),
        sent({"identifier": "somebody else"}),
    ],
)
async def test_a_target_that_cannot_be_read_is_ignored(site: Site, header: str) -> None:
    """As is one that describes somebody else; the stored one counts (spec/sdk-wire#target-transport)."""
    await site.store.targets.put(ENVIRONMENT, Target("jane", attributes={"plan": "gold"}))
    assert await gold(site, "jane", Harness_Target=header)


async def test_a_sent_target_may_be_cut_between_surrogates(site: Site) -> None:
    """JavaScript encodes characters beyond the basic plane as two, each on its own."""
    text = json.dumps({"identifier": "jane", "attributes": {"plan": "gold", "n": "X"}})
    cesu = text.encode().replace(b"X", b"\xed\xa0\xbd\xed\xb8\x80")
    assert await gold(site, "jane", Harness_Target=base64.b64encode(cesu).decode())


@pytest.mark.parametrize(
    ("path", "identifier"),
    [
        ("jane%40acme.com", "jane@acme.com"),
        ("a%2Fb", "a/b"),
        ("a/b", "a/b"),
        ("/a", "/a"),
        ("a+b", "a+b"),
        ("100%", "100%"),
        ("100%25", "100%"),
        ("a%zz", "a%zz"),
        ("%C3%A9", "\u00e9"),
        ("x/evaluations/y", "x/evaluations/y"),
        ("a//b", "a//b"),
    ],
)
async def test_paths_are_decoded_once(site: Site, path: str, identifier: str) -> None:
    """JavaScript and iOS send slashes as they are, others encode them (spec/behaviour#paths-and-caching)."""
    await site.store.targets.put(ENVIRONMENT, Target(identifier, attributes={"plan": "gold"}))
    assert await gold(site, path)
    assert not await gold(site, path + "x")


async def test_a_sent_target_may_match_the_path_as_it_was_sent(site: Site) -> None:
    """JavaScript does not escape: an identifier that holds a percent sign arrives raw."""
    target = sent({"identifier": "50%25", "attributes": {"plan": "gold"}})
    assert await gold(site, "50%25", Harness_Target=target)


@pytest.mark.parametrize(
    "path",
    [
        f"/api/1.0{ENV}/feature-configs",
        f"/{ENV}/feature-configs",
        f"//api/1.0/{ENV}/feature-configs",
        f"/client//env/{ENVIRONMENT}//feature-configs",
        f"{ENV}/feature-configs/",
        f"{ENV}/feature-configs?",
        f"{ENV}/feature-configs?cluster=undefined&x=%zz&stream=%2A",
        f"http://proxy:7000{ENV}/feature-configs?cluster=1",
    ],
)
async def test_paths_are_taken_as_sdks_write_them(site: Site, path: str) -> None:
    """Configured slashes are doubled, prefixes kept; nothing is redirected (spec/sdk-wire#base-urls)."""
    got = await get(site, path)
    assert (got.status, len(got.json())) == (200, 3)


async def test_the_tag_is_of_the_content(site: Site) -> None:
    """The same on every member; a changed flag changes it, an evaluation's depends on the target."""
    first = (await get(site, f"{ENV}/feature-configs")).field("etag")
    assert first == (await get(site, f"{ENV}/feature-configs")).field("etag")
    async with serving(Site(), config(flag("a"))) as one, serving(Site(), config(flag("a"))) as other:
        for path in ("feature-configs", "feature-configs/a", "target/t/evaluations"):
            tags = {(await get(member, f"{ENV}/{path}")).field("etag") for member in (one, other)}
            assert len(tags) == 1
    jane = (await get(site, f"{ENV}/target/jane/evaluations")).field("etag")
    joe = (await get(site, f"{ENV}/target/joe/evaluations")).field("etag")
    assert jane != joe
    await site.store.configs.apply(ENVIRONMENT, PutItem(flag("a", on=False, version=2)))
    await site.snapshots.resync()
    assert (await get(site, f"{ENV}/feature-configs")).field("etag") != first
    assert (await get(site, f"{ENV}/target/jane/evaluations")).field("etag") != jane


@pytest.mark.parametrize(
    "path", ["feature-configs", "feature-configs/a", "target-segments/beta", "target/t/evaluations"]
)
async def test_what_is_unchanged_is_not_sent_again(site: Site, path: str) -> None:
    """A list of tags, weak ones, a star; the 304 carries what the 200 would have."""
    whole = await get(site, f"{ENV}/{path}")
    tag = whole.field("etag") or ""
    for asked in (tag, f"W/{tag}", f'"x", {tag}', f'W/"x",W/{tag}', "*"):
        got = await get(site, f"{ENV}/{path}", If_None_Match=asked)
        assert (got.status, got.body) == (304, b"")
        for name in ("etag", "cache-control", "vary", "access-control-allow-origin"):
            assert got.field(name) == whole.field(name)
    for asked in ('"x"', tag.strip('"'), ""):
        assert (await get(site, f"{ENV}/{path}", If_None_Match=asked)).status == 200


async def test_large_bodies_are_compressed_for_those_who_take_it() -> None:
    """Even ``gzip`` with q=0 is refused; the tag is weak, since the same content has other bytes."""
    async with serving(Site(), config(*(flag(f"flag-{number}") for number in range(50)))) as site:
        path = f"{ENV}/feature-configs"
        plain = await get(site, path)
        for accepted in ("gzip", "gzip, deflate, br", "br;q=1.0, x-gzip;q=0.5", "*", "GZIP"):
            got = await get(site, path, Accept_Encoding=accepted)
            assert got.field("content-encoding") == "gzip"
            assert zlib.decompress(got.body, 31) == plain.body
            assert got.field("etag") == f"W/{plain.field('etag')}"
            again = await get(
                site, path, Accept_Encoding=accepted, If_None_Match=got.field("etag") or "nothing"
            )
            assert again.status == 304
        for accepted in ("", "identity", "br", "gzip;q=0", "gzip; q=0.0, *", "*;q=0", "gzipped"):
            got = await get(site, path, Accept_Encoding=accepted)
            assert got.field("content-encoding") is None
            assert got.body == plain.body


async def test_an_id_is_echoed_and_none_is_made_up(site: Site) -> None:
    """Only one that may stand in a header."""
    path = f"{ENV}/feature-configs"
    plain = (await get(site, path)).undated
    for sent, echoed in [("abc-123", "abc-123"), ("x" * 300, None), ("", None), ("other", "other")] * 2:
        got = await get(site, path, X_Request_ID=sent)
        assert got.field("x-request-id") == echoed
        line = f"X-Request-Id: {echoed}\r\n".encode() if echoed else b""
        assert got.undated.replace(line, b"") == plain
    assert (await get(site, f"{path}/none", X_Request_ID="abc")).field("x-request-id") == "abc"


async def test_a_head_request_has_the_headers_only(site: Site) -> None:
    """The same fields as the GET, and no body."""
    path = f"{ENV}/feature-configs"
    whole = await get(site, path)
    head = await ask(site, "HEAD", path, site.bearer())
    assert (head.status, head.body) == (200, b"")
    assert dict(head.fields) | {"date": ""} == dict(whole.fields) | {"date": ""}


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("POST", f"{ENV}/feature-configs", "GET, HEAD, OPTIONS"),
        ("PUT", f"{ENV}/target/t/evaluations", "GET, HEAD, OPTIONS"),
        ("GET", "/client/auth", "OPTIONS, POST"),
        ("GET", f"/metrics/{ENVIRONMENT}", "OPTIONS, POST"),
        ("DELETE", "/health", "GET, HEAD, OPTIONS"),
    ],
)
async def test_other_methods_are_405(site: Site, method: str, path: str, allow: str) -> None:
    """Saying which ones are allowed, in the errors' form."""
    got = await ask(site, method, path, site.bearer())
    assert (got.status, got.json()["code"], got.field("allow")) == (405, "405", allow)
    assert got.field("access-control-allow-origin") == "*"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_fault_of_ours_is_500(site: Site, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On either way, with nothing of its cause in the answer; and others are served on."""

    def fail(*_: object, **__: object) -> None:
        raise ValueError("a secret")

    path = f"{ENV}/feature-configs"
    with monkeypatch.context() as patched:
        patched.setattr(TokenAccess, "read", fail)
        got = await ask(site, method, path, site.bearer())
        assert (got.status, got.field("access-control-allow-origin")) == (500, "*")
        assert b"secret" not in got.raw
    assert (await get(site, path)).status == 200
