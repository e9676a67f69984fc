"""Fetching: what is unreadable costs nothing that was good."""

import asyncio
from collections.abc import Mapping

import pytest

from ff_proxy.errors import UpstreamMalformed, UpstreamRefused, UpstreamUnavailable
from ff_proxy.model.environment import Domain, EnvironmentConfig, Item
from ff_proxy.upstream.fetcher import Fetcher
from ff_proxy.wire.normalise import segment_forms
from tests.support import configs
from tests.support.saas import error, flag_doc, reply, segment_doc
from tests.unit.upstream.world import ENVIRONMENT, World

FLAGS = "/client/env/{env}/feature-configs"
SEGMENTS = "/client/env/{env}/target-segments"


async def nothing() -> None:
    """Nothing is held."""
    return


async def fetched(world: World, *held: Item, domain: Domain = Domain.FLAG) -> Mapping[str, Item]:
    """All items of a kind, where ``held`` is in the store."""

    async def config() -> EnvironmentConfig | None:
        return configs.config(*held) if held else None

    return await Fetcher(world.api, world.telemetry).fetch_all(await world.session(), domain, config)


async def item(world: World, domain: Domain, identifier: str) -> Item | None:
    """One item."""
    return await Fetcher(world.api, world.telemetry).item(await world.session(), domain, identifier)


async def test_everything(world: World) -> None:
    """Flags and segments by identifier."""
    environment = world.saas.environments[ENVIRONMENT]
    environment.put_flag(flag_doc("f", 3))
    environment.put_segment(segment_doc("s", 4))
    assert (await fetched(world))["f"].version == 3
    assert (await fetched(world, domain=Domain.SEGMENT))["s"].version == 4


async def test_both_forms_of_a_segment(world: World) -> None:
    """Each caller gets what SaaS gives it (spec/behaviour#segment-forms)."""
    rules = [{"attribute": "a", "op": "in", "values": ["old"], "negate": False}]
    serving = [{"ruleId": "r", "priority": 1, "clauses": [{"attribute": "a", "op": "in", "values": ["new"]}]}]
    world.saas.environments[ENVIRONMENT].put_segment(segment_doc("s", rules=rules, servingRules=serving))
    for made in ((await fetched(world, domain=Domain.SEGMENT))["s"], await item(world, Domain.SEGMENT, "s")):
        assert made is not None
        legacy, and_rules = segment_forms(made.wire)
        assert b'"old"' in legacy
        assert b'"new"' not in legacy
        assert b'"new"' in and_rules
    assert "made from servingRules" not in world.log


async def test_made_legacy_rules_are_mentioned_once(world: World) -> None:
    """Only if the source has none."""
    serving = [{"ruleId": "r", "priority": 1, "clauses": [{"attribute": "a", "op": "in", "values": ["new"]}]}]
    world.saas.environments[ENVIRONMENT].put_segment(segment_doc("s", servingRules=serving))
    fetcher, session = Fetcher(world.api, world.telemetry), await world.session()
    await fetcher.fetch_all(session, Domain.SEGMENT, nothing)
    segments = await fetcher.fetch_all(session, Domain.SEGMENT, nothing)
    legacy, _ = segment_forms(segments["s"].wire)
    assert b'"new"' in legacy
    assert world.log.count("made from servingRules") == 1


async def test_cancelled_while_failing(world: World) -> None:
    """A proxy that stops while SaaS fails has to stop."""
    gate = world.saas.gates[SEGMENTS] = asyncio.Event()
    world.saas.next[SEGMENTS] = [UpstreamUnavailable("down")]
    fetcher, session = Fetcher(world.api, world.telemetry), await world.session()
    fetching = asyncio.create_task(fetcher.fetch_all(session, Domain.SEGMENT, nothing))
    await world.clock.settle()
    fetching.cancel()
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await fetching


@pytest.mark.parametrize(("route", "domain"), [(FLAGS, Domain.FLAG), (SEGMENTS, Domain.SEGMENT)])
async def test_a_partial_result_is_an_error(world: World, route: str, domain: Domain) -> None:
    """The error says whether to retry."""
    world.saas.next[route] = [UpstreamUnavailable("down")]
    with pytest.raises(UpstreamUnavailable):
        await fetched(world, domain=domain)


async def test_unreadable_flag_keeps_its_last_form(world: World) -> None:
    """And is counted, and logged once."""
    world.saas.environments[ENVIRONMENT].put_flag(flag_doc("good"))
    world.saas.environments[ENVIRONMENT].put_flag(flag_doc("bad", variations=[]))
    held = configs.flag("bad", version=2)
    flags = await fetched(world, held)
    assert flags["bad"] is held
    assert set(flags) == {"good", "bad"}
    assert "variation" in world.log
    assert 'ff_proxy_items_rejected_total{envID="' in world.telemetry.exposition().decode()


async def test_unreadable_flag_that_was_never_good(world: World) -> None:
    """It is left out, and the others are not."""
    world.saas.environments[ENVIRONMENT].put_flag(flag_doc("good"))
    world.saas.environments[ENVIRONMENT].put_flag(flag_doc("bad", variations=[]))
    assert set(await fetched(world)) == {"good"}


async def test_unreadable_item_without_a_name_keeps_all(world: World) -> None:
    """It may be any of those that seem to be gone."""
    world.saas.next[FLAGS] = [reply([flag_doc("a", 5), {"feature": None}, 7])]
    held = configs.flag("b"), configs.flag("a", version=4), configs.segment("s")
    flags = await fetched(world, *held)
    assert flags["b"] is held[0]
    assert flags["a"].version == 5
    assert await fetched(world, *held, domain=Domain.SEGMENT) == {}


async def test_missing_flags_are_gone(world: World) -> None:
    """An empty list with status 200 is an answer."""
    assert await fetched(world, configs.flag("gone")) == {}


async def test_duplicates(world: World) -> None:
    """The newest counts."""
    world.saas.next[FLAGS] = [reply([flag_doc("a", 5), flag_doc("a", 7), flag_doc("a", 6)])]
    assert (await fetched(world))["a"].version == 7


async def test_deeply_nested_flag_is_unreadable(world: World) -> None:
    """It costs itself only."""
    nested: object = 1
    for _ in range(600):
        nested = [nested]
    world.saas.next[FLAGS] = [reply([flag_doc("deep", extra=nested), flag_doc("good")])]
    assert "good" in (await fetched(world))


async def test_one_flag(world: World) -> None:
    """As after an event."""
    world.saas.environments[ENVIRONMENT].put_flag(flag_doc("f", 3))
    made = await item(world, Domain.FLAG, "f")
    assert made is not None
    assert (made.domain, made.version) == (Domain.FLAG, 3)


@pytest.mark.parametrize("domain", list(Domain))
async def test_one_that_is_gone(world: World, domain: Domain) -> None:
    """SaaS's 404 comes through."""
    with pytest.raises(UpstreamRefused) as caught:
        await item(world, domain, "gone")
    assert caught.value.status == 404


@pytest.mark.parametrize("domain", list(Domain))
async def test_one_that_is_unreadable(world: World, domain: Domain) -> None:
    """It is counted, and changes nothing."""
    world.saas.always = {f"{FLAGS}/{{id}}": reply({"feature": 7}), f"{SEGMENTS}/{{id}}": reply([])}
    assert await item(world, domain, "f") is None
    assert "unreadable item" in world.log


async def test_another_than_asked_for(world: World) -> None:
    """A cache in between that mixes up its answers."""
    world.saas.next[f"{FLAGS}/{{id}}"] = [reply(flag_doc("other"))]
    with pytest.raises(UpstreamMalformed):
        await item(world, Domain.FLAG, "f")


async def test_segment_whose_old_form_is_gone(world: World) -> None:
    """The new form will do until an event says more."""
    world.saas.next[f"{SEGMENTS}/{{id}}"] = [reply(segment_doc("s", 2)), error(404)]
    made = await item(world, Domain.SEGMENT, "s")
    assert made is not None
    assert made.version == 2


async def test_segment_whose_old_form_is_refused(world: World) -> None:
    """A token that stopped working in between is renewed by the caller."""
    world.saas.next[f"{SEGMENTS}/{{id}}"] = [reply(segment_doc("s", 2)), error(401)]
    with pytest.raises(UpstreamRefused):
        await item(world, Domain.SEGMENT, "s")
