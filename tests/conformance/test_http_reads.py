"""Flags, segments and evaluations over the wire (PRODUCT §3, sdk-contract.md §4)."""

from collections.abc import AsyncIterator

import pytest

from tests.support.configs import ENVIRONMENT, config, flag, segment
from tests.support.web import Site, ask, serving

ENV = f"/client/env/{ENVIRONMENT}"


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """A proxy with two flags and a segment."""
    async with serving(Site(), config(flag("a"), flag("b", on=False), segment("beta"))) as running:
        yield running


async def test_all_flags(site: Site) -> None:
    """A bare array in identifier order, with everything an SDK or a cache needs to know."""
    got = await ask(site, "GET", f"{ENV}/feature-configs?cluster=1", site.bearer())
    assert got.status == 200
    assert [one["feature"] for one in got.json()] == ["a", "b"]
    assert got.field("content-type") == "application/json"
    assert got.field("cache-control") == "private, no-cache"
    assert got.field("vary") == "Authorization, Accept-Encoding"
    assert got.field("access-control-allow-origin") == "*"
    assert got.field("etag")
    assert got.field("date")


async def test_evaluations(site: Site) -> None:
    """Exactly four fields each."""
    got = await ask(site, "GET", f"{ENV}/target/jane/evaluations", site.bearer())
    assert got.status == 200
    assert got.json() == [
        {"flag": "a", "kind": "boolean", "value": "true", "identifier": "true"},
        {"flag": "b", "kind": "boolean", "value": "false", "identifier": "false"},
    ]
