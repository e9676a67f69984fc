"""OFREP over the wire (spec/behaviour#ofrep)."""

import json
import zlib
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs

import jsonschema_rs
import mmh3
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ff_proxy.api.ofrep_streams import StreamTickets
from ff_proxy.api.tokens import Tokens
from ff_proxy.model.environment import Domain
from ff_proxy.model.keys import EnvironmentId, KeyVerdict, SdkKey
from ff_proxy.store.protocol import DropItem, PutItem
from ff_proxy.wire.ofrep import read_context
from tests.support import ofrep_protocol
from tests.support.clock import FakeClock
from tests.support.configs import ENVIRONMENT, KEY, config, flag
from tests.support.web import SECRET, Response, Site, ask, connected, message, serving

BULK = "/ofrep/v1/evaluate/flags"
GOLD = [
    {
        "priority": 0,
        "clauses": [{"attribute": "plan", "op": "equal", "values": ["gold"]}],
        "serve": {"variation": "true"},
    }
]
HALF = {
    "distribution": {
        "bucketBy": "identifier",
        "variations": [{"variation": "true", "weight": 50}, {"variation": "false", "weight": 50}],
    }
}


def typed(name: str, kind: str, *values: str) -> Any:
    """A flag of a kind that serves its first value."""
    variations = [{"identifier": f"v{number}", "value": value} for number, value in enumerate(values)]
    return flag(name, kind=kind, variations=variations, defaultServe={"variation": "v0"}, offVariation="v0")


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """Flags of every kind and reason."""
    items = (
        flag("plain"),
        flag("off", on=False),
        flag("gold", defaultServe={"variation": "false"}, rules=GOLD),
        flag("half", defaultServe=HALF),
        flag("named", variationToTargetMap=[{"variation": "true", "targets": [{"identifier": "ann"}]}]),
        flag("behind", prerequisites=[{"feature": "gold", "variations": ["true"]}]),
        typed("number", "int", "7", "8"),
        typed("fraction", "int", "2.5", "8"),
        typed("text", "string", "seven", "8"),
        typed("object", "json", '{"a": [1]}', "{}"),
        typed("broken", "int", "seven", "8"),
        typed("padded", "int", " 011 ", "8"),
        typed("grouped", "int", "1_000", "8"),
        typed("foreign", "int", "٣", "8"),
        typed("endless", "int", "1e999", "8"),
    )
    async with serving(Site(), config(*items)) as running:
        yield running


async def post(site: Site, path: str, context: object = None, **headers: str) -> Response:
    """An evaluation with the SDK key, held to the protocol; ``headers`` come on top."""
    named = {"X-API-Key": KEY} | {name.replace("_", "-"): value for name, value in headers.items()}
    body = json.dumps({"context": context if context is not None else {"targetingKey": "bob"}}).encode()
    got = await ask(site, "POST", path, {name: value for name, value in named.items() if value}, body)
    if got.field("content-encoding") is None:
        ofrep_protocol.check(path, got.status, got.body)
    return got


async def flags(site: Site, context: object = None) -> dict[str, Any]:
    """All evaluations by flag."""
    got = await post(site, BULK, context)
    assert got.status == 200
    return {one["key"]: one for one in got.json()["flags"]}


async def test_values_are_of_their_kind(site: Site) -> None:
    """Numbers, booleans and objects as JSON has them."""
    values = {name: one.get("value") for name, one in (await flags(site)).items()}
    assert values["plain"] is True
    assert (values["number"], values["fraction"], values["text"]) == (7, 2.5, "seven")
    assert values["padded"] == 11
    assert values["object"] == {"a": [1]}


async def test_reasons(site: Site) -> None:
    """Off, rule, percentage, target, default, prerequisite."""
    ann = await flags(site, {"targetingKey": "ann", "plan": "gold"})
    bob = await flags(site)
    assert (bob["off"]["reason"], bob["plain"]["reason"]) == ("DISABLED", "STATIC")
    assert (ann["gold"]["reason"], bob["gold"]["reason"]) == ("TARGETING_MATCH", "STATIC")
    assert (ann["named"]["reason"], bob["half"]["reason"]) == ("TARGETING_MATCH", "SPLIT")
    assert bob["behind"]["metadata"]["harnessReason"] == "prerequisite"
    assert bob["plain"]["variant"] == "true"
    metadata = bob["plain"]["metadata"]
    assert metadata["flagVersion"] == 1
    assert all(isinstance(value, bool | str | int) for value in metadata.values())


async def test_a_value_that_is_not_of_its_kind_is_a_failure_of_its_own(site: Site) -> None:
    """The others in the list are not touched by it."""
    listed = await flags(site)
    for name in ("broken", "grouped", "foreign", "endless"):
        assert listed[name]["errorCode"] == "PARSE_ERROR"
    got = await post(site, f"{BULK}/broken")
    assert (got.status, got.json()["errorCode"]) == (400, "PARSE_ERROR")


async def test_one_flag(site: Site) -> None:
    """As it stands in the list; an unknown one is 404."""
    got = await post(site, f"{BULK}/plain")
    assert got.status == 200
    assert got.json() == (await flags(site))["plain"]
    missing = await post(site, f"{BULK}/nothing")
    assert (missing.status, missing.json()["errorCode"]) == (404, "FLAG_NOT_FOUND")
    assert missing.json()["key"] == "nothing"


async def test_without_a_targeting_key(site: Site) -> None:
    """Only flags that ask for the target cannot be evaluated."""
    nobody = await flags(site, {"plan": "gold"})
    assert nobody["plain"]["value"] is True
    assert nobody["off"]["reason"] == "DISABLED"
    for name in ("gold", "half", "named", "behind"):
        assert nobody[name]["errorCode"] == "TARGETING_KEY_MISSING"
    got = await post(site, f"{BULK}/gold", {})
    assert (got.status, got.json()["errorCode"]) == (400, "TARGETING_KEY_MISSING")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", "PARSE_ERROR"),
        (b"[]", "PARSE_ERROR"),
        (b'{"context": []}', "INVALID_CONTEXT"),
        (b'{"context": {"targetingKey": 7}}', "INVALID_CONTEXT"),
    ],
)
async def test_bad_contexts(site: Site, body: bytes, code: str) -> None:
    """400 with the protocol's code, and the flag if one was asked for, known or not."""
    for path, name in ((BULK, None), (f"{BULK}/plain", "plain"), (f"{BULK}/not%20there", "not there")):
        got = await ask(site, "POST", path, {"X-API-Key": KEY}, body)
        ofrep_protocol.check(path, got.status, got.body)
        assert (got.status, got.json()["errorCode"], got.json().get("key")) == (400, code, name)


async def test_a_body_that_cannot_be_decompressed(site: Site) -> None:
    """It names the flag, like a context that cannot be read."""
    for path, name in ((BULK, None), (f"{BULK}/plain", "plain")):
        fields = {"X-API-Key": KEY, "Content-Encoding": "gzip"}
        got = await ask(site, "POST", path, fields, b"not compressed")
        ofrep_protocol.check(path, got.status, got.body)
        assert (got.status, got.json()["errorCode"], got.json().get("key")) == (400, "GENERAL", name)


async def test_an_empty_body_is_nobody(site: Site) -> None:
    """Lenient, as flagd is."""
    assert (await ask(site, "POST", BULK, {"X-API-Key": KEY})).status == 200


async def test_keys(site: Site) -> None:
    """Either header; none is 401, an unknown one 403, one that cannot be checked 503."""
    assert (await post(site, BULK, Authorization=f"Bearer {KEY}", X_API_Key="")).status == 200
    assert (await post(site, BULK, X_API_Key="")).status == 401
    assert (await post(site, BULK, X_API_Key="unknown")).status == 403
    site.keys.verdict = KeyVerdict.UNAVAILABLE
    refused = await post(site, BULK, X_API_Key="unknown")
    assert refused.status == 503
    assert refused.field("retry-after")


async def test_unchanged(site: Site) -> None:
    """304 for the same context only, whatever of it has changed, and for the same flags."""
    context = {"targetingKey": "bob", "plan": "free"}
    first = await post(site, BULK, context)
    tag = first.field("etag")
    assert tag
    same = await post(site, BULK, {"plan": "free", "targetingKey": "bob"}, If_None_Match=tag)
    assert (same.status, same.body) == (304, b"")
    assert (await post(site, BULK, context | {"plan": "gold"}, If_None_Match=tag)).status == 200
    assert (await post(site, BULK, context | {"extra": None}, If_None_Match=tag)).status == 200
    await site.store.configs.apply(ENVIRONMENT, PutItem(flag("plain", version=2, on=False)))
    await site.snapshots.resync()
    assert (await post(site, BULK, context, If_None_Match=tag)).status == 200


async def test_nobody_gets_a_list_made_for_a_context_of_the_same_murmur_hash(site: Site) -> None:
    """Such contexts are found in a second, and a browser's key is public."""
    made_up = {"plan": "gold", "targetingKey": "ann", "x": "tje9100Hy'%0ZL-RC;2gNW6"}
    others = {"plan": "free", "targetingKey": "ann", "x": "a" * 23}
    assert len({mmh3.hash_bytes(json.dumps(one, separators=(",", ":"))) for one in (made_up, others)}) == 1
    assert (await flags(site, made_up))["gold"]["value"] is True
    assert (await flags(site, others))["gold"]["value"] is False


async def test_browsers_can_read_the_tag(site: Site) -> None:
    """From another origin."""
    got = await post(site, BULK, Origin="https://app.example.com")
    assert got.field("access-control-allow-origin") == "*"
    assert (got.field("access-control-expose-headers") or "").lower() == "etag"
    preflight = await ask(
        site,
        "OPTIONS",
        BULK,
        {"Origin": "https://x.example", "Access-Control-Request-Headers": "x-api-key,if-none-match"},
    )
    assert preflight.status == 204
    allowed = (preflight.field("access-control-allow-headers") or "").lower()
    assert "x-api-key" in allowed
    assert "if-none-match" in allowed


async def test_compressed(site: Site) -> None:
    """Long lists, for those who take it."""
    got = await post(site, BULK, Accept_Encoding="gzip")
    assert got.field("content-encoding") == "gzip"
    assert json.loads(zlib.decompress(got.body, 31))["flags"]


async def test_targets_are_registered_but_not_anonymous_ones(site: Site) -> None:
    """As at authentication."""
    await post(site, BULK, {"targetingKey": "ann", "name": "Ann", "plan": "gold"})
    await post(site, BULK, {"targetingKey": "guest", "anonymous": True})
    assert [target.identifier for _, target in site.registrar.registered] == ["ann"]


async def test_evaluations_are_counted(site: Site) -> None:
    """Each that was given out, by flag and variation; what is unchanged was not given out again."""
    first = await post(site, BULK)
    await post(site, BULK)
    await post(site, BULK, If_None_Match=first.field("etag") or "")
    await post(site, f"{BULK}/plain", User_Agent="python-requests/2")
    (source,) = site.posts.sources
    counted = {
        (attributes["featureIdentifier"], attributes["SDK_LANGUAGE"]): count.count
        for _, counts in source()
        for count in counts
        for attributes in [{name: json.loads(text) for name, text in count.key.attributes}]
    }
    assert counted["plain", "ofrep"] == 2
    assert counted["plain", "python"] == 1
    assert list(source()) == []


async def test_what_cannot_be_evaluated_is_not_counted(site: Site) -> None:
    """Neither what asks for a targeting key nor a value that is not of its kind, in a list or alone."""
    await post(site, BULK, {"plan": "gold"})
    await post(site, f"{BULK}/gold", {"plan": "gold"})
    await post(site, f"{BULK}/broken")
    (source,) = site.posts.sources
    counted = {
        json.loads(dict(count.key.attributes)["featureIdentifier"])
        for _, counts in source()
        for count in counts
    }
    assert {"plain", "off", "text"} <= counted
    assert not {"gold", "half", "named", "behind", "broken"} & counted


async def test_events(site: Site) -> None:
    """A client that listens is told to fetch again, and finds the new state."""
    announced = (await post(site, BULK)).json()["eventStreams"][0]
    assert announced["type"] == "sse"
    async with connected(site) as wire:
        await wire.send(message("GET", announced["endpoint"]["requestUri"]))
        head = await wire.response(head=True)
        assert head.status == 200
        assert head.field("content-type") == "text/event-stream"
        assert await wire.chunk() == b":\n\n"
        await site.store.configs.apply(ENVIRONMENT, PutItem(flag("plain", version=2, on=False)))
        await site.snapshots.resync()
        event = (await wire.chunk()).decode()
        lines = dict(line.split(": ", 1) for line in event.strip().split("\n"))
        assert lines["event"] == "message"
        data = json.loads(lines["data"])
        jsonschema_rs.validate(ofrep_protocol.EVENT, data)
        assert data["type"] == "refetchEvaluation"
        assert data["etag"] == lines["id"]
        got = await post(site, f"{BULK}?flagConfigEtag={data['etag']}")
        assert {one["key"]: one for one in got.json()["flags"]}["plain"]["reason"] == "DISABLED"
    async with connected(site) as wire:
        address = announced["endpoint"]["requestUri"]
        await wire.send(message("GET", address, {"Last-Event-ID": "something-1"}))
        await wire.response(head=True)
        await wire.chunk()
        assert b"refetchEvaluation" in await wire.chunk()


async def test_events_are_below_the_path_at_which_the_list_was_asked_for() -> None:
    """Clients join it to the host alone, and a gateway may pass on nothing but the base path."""
    async with serving(Site(base_path="/flags"), config(flag("plain"))) as site:
        for before, expected in {
            "": "",
            "/flags": "/flags",
            "//flags///api/1.0/": "/flags/api/1.0",
            "/api/1.0": "/api/1.0",
        }.items():
            evaluated, remembered = [
                (await post(site, before + BULK)).json()["eventStreams"][0]["endpoint"] for _ in range(2)
            ]
            address = evaluated["requestUri"]
            assert remembered == evaluated
            assert address.partition("?")[0] == expected + "/ofrep/v1/events"
            async with connected(site) as wire:
                await wire.send(message("GET", address))
                assert (await wire.response(head=True)).status == 200


@given(st.text(st.characters(codec="utf-8"), min_size=1), st.sampled_from([KEY, "another"]))
def test_a_ticket_is_good_for_the_environment_that_it_names(name: str, key: str) -> None:
    """Whatever characters its identifier has: a directory's may be anything."""
    clock = FakeClock()
    tickets = StreamTickets(Tokens(SECRET, clock), clock)
    environment = EnvironmentId(name)
    address = tickets.address(environment, SdkKey(key).hash)
    (ticket,) = parse_qs(address.partition("?")[2])["ticket"]
    assert tickets.read(ticket) == (environment, SdkKey(key).hash)


@pytest.mark.parametrize("query", ["", "?ticket=", "?ticket=abc", "?ticket=%00%ff"])
async def test_no_stream_without_a_ticket(site: Site, query: str) -> None:
    """With an empty body, as every refused stream."""
    got = await ask(site, "GET", f"/ofrep/v1/events{query}")
    assert (got.status, got.body) == (401, b"")


async def test_a_ticket_ends_with_its_key(site: Site) -> None:
    """And cannot be made up for another environment."""
    address = (await post(site, BULK)).json()["eventStreams"][0]["endpoint"]["requestUri"]
    await site.hold(config(flag("plain"), keys=("another",)))
    assert (await ask(site, "GET", address)).status == 403
    tampered = address[:-8] + ("A" * 8)
    assert (await ask(site, "GET", tampered)).status == 401


async def test_a_dropped_flag_is_gone(site: Site) -> None:
    """From the list and alone."""
    await site.store.configs.apply(ENVIRONMENT, DropItem(Domain.FLAG, "plain"))
    await site.snapshots.resync()
    assert "plain" not in await flags(site)
    assert (await post(site, f"{BULK}/plain")).status == 404


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=5), JSON, max_size=4), st.text(max_size=5))
def test_equal_contexts_have_one_form_and_others_do_not(context: dict[str, Any], key: str) -> None:
    """Whatever order their members come in; otherwise a tag would say 304 to somebody else."""
    context["targetingKey"] = key
    turned = dict(reversed(context.items()))
    first = read_context(json.dumps({"context": context}).encode())
    assert read_context(json.dumps({"context": turned}).encode()).canonical == first.canonical
    other = context | {"targetingKey": key + "x"}
    assert read_context(json.dumps({"context": other}).encode()).canonical != first.canonical
    assert SdkKey("x").hash


async def test_a_list_without_the_address_of_a_stream_does_not_pass_for_one_with_it() -> None:
    """A replica that waits for its fleet's secret answers, and names a stream as soon as it can sign."""
    async with serving(Site(signs=False), config(flag("plain"))) as site:
        first = await post(site, BULK)
        assert "eventStreams" not in first.json()
        site.tokens.adopt(SECRET)
        again = await post(site, BULK, If_None_Match=first.field("etag") or "")
        assert again.status == 200
        assert again.json()["eventStreams"]
        assert (await post(site, BULK, If_None_Match=again.field("etag") or "")).status == 304
