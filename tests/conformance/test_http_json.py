"""Any JSON over the wire: whatever an SDK sends of its target, it gets its token and its evaluations."""

import base64
import json
from collections.abc import AsyncIterator

import pytest

from tests.support.configs import ENVIRONMENT, KEY, config, flag
from tests.support.web import Site, ask, serving

VALUES = [
    "100000000000000000000",
    "-100000000000000000000",
    "1" + "0" * 400,
    "9" * 5000,
    "1e400",
    "-0",
    "NaN",
    '"\\ud800"',
    '"\\u0000"',
    "[" * 90 + "]" * 90,
    "[" * 600 + "]" * 600,
    '{"":{"\\udfff":1e999}}',
    '"' + "x" * 100_000 + '"',
    "[" + "0," * 40_000 + "1]",
]
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-32-be"]


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """One environment with one key."""
    async with serving(Site(), config(flag("a"))) as running:
        yield running


@pytest.mark.parametrize("value", VALUES, ids=lambda value: value[:24])
async def test_odd_values_stand_in_nobodys_way(site: Site, value: str) -> None:
    """As an attribute, a name, an identifier, or something that nobody asked for."""
    bearer = {}
    for target in (
        f'{{"identifier":"t","attributes":{{"id":{value}}}}}',
        f'{{"identifier":"t","name":{value}}}',
        f'{{"identifier":{value}}}',
        f'{{"identifier":"t","anonymous":{value},"more":{value}}}',
        value,
    ):
        body = f'{{"apiKey":"{KEY}","target":{target}}}'.encode()
        answer = await ask(site, "POST", "/client/auth", {"Content-Type": "application/json"}, body)
        assert answer.status == 200, target[:80]
        bearer = {"Authorization": f"Bearer {answer.json()['authToken']}"}
        described = base64.b64encode(target.encode()).decode()
        path = f"/client/env/{ENVIRONMENT}/target/t/evaluations"
        for header in ({}, {"Harness-Target": described}):
            evaluated = await ask(site, "GET", path, bearer | header)
            assert evaluated.status == 200
            assert [one["flag"] for one in evaluated.json()] == ["a"]
    for usage in (
        f'{{"metricsData":[{{"count":{value},"attributes":[{{"key":"target","value":{value}}}]}}]}}',
        f'{{"metricsData":{value},"targetData":[{value}]}}',
    ):
        posted = await ask(site, "POST", f"/metrics/{ENVIRONMENT}", bearer, usage.encode())
        assert posted.status in {200, 400}


@pytest.mark.parametrize("encoding", ENCODINGS)
async def test_every_encoding_of_json_is_read(site: Site, encoding: str) -> None:
    """RFC 8259's readers have met all of them."""
    body = json.dumps({"apiKey": KEY, "target": {"identifier": "zoë"}}, ensure_ascii=False).encode(encoding)
    assert (await ask(site, "POST", "/client/auth", {}, body)).status == 200
    assert await site.store.targets.get(ENVIRONMENT, "zoë") is not None


async def test_what_is_too_long_is_forgotten_but_counts_where_it_is_sent(site: Site) -> None:
    """Attributes of more than 64 KiB are evaluated from the header, and not from the store."""
    long = {"identifier": "t", "attributes": {"plan": "x" * 70_000}}
    body = json.dumps({"apiKey": KEY, "target": long}).encode()
    assert (await ask(site, "POST", "/client/auth", {}, body)).status == 200
    kept = await site.store.targets.get(ENVIRONMENT, "t")
    assert kept is not None
    assert kept.attributes == {}
    counted = site.telemetry.metrics.targets_cut.labels(ENVIRONMENT, "attributes")
    assert counted._value.get() == 1
