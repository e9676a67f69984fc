"""Whole fetches: what they change, and what they must not."""

import asyncio

import pytest

from ff_proxy.errors import FfProxyError, UpstreamRefused, UpstreamUnavailable
from ff_proxy.model.environment import Action, Change, Domain
from tests.support.saas import HTML, KEY, error, flag_doc, reply, segment_doc
from tests.unit.upstream.refreshing import FLAG, FLAGS, SEGMENTS, Work
from tests.unit.upstream.world import AWAY, BACK, ENVIRONMENT, STORE_BACK, World, running


async def test_everything_is_loaded(work: Work) -> None:
    """With keys, and reported."""
    config = await work.world.config()
    assert set(config.flags) == {"a", "b"}
    assert config.keys == {KEY.hash}
    assert config.info.identifier == "production"
    assert work.writer.loaded
    assert work.reports == [None, None]


async def test_large_burst_becomes_one_whole_fetch(work: Work) -> None:
    """That is quicker than hundreds of single ones."""
    for number in range(300):
        work.saas.put_flag(flag_doc(f"new-{number}"))
        work.refresher.refresh(Change(Action.CREATE, Domain.FLAG, f"new-{number}", 1))
    for _ in range(20):
        await work.world.clock.settle()
    assert len(await work.world.versions()) == 302
    assert work.world.saas.count(FLAGS) == 2
    assert work.world.saas.count(FLAG) < 65


async def test_event_during_a_whole_fetch_is_not_lost(work: Work) -> None:
    """SaaS answered the list before the change, and the event came before the answer."""
    gate = work.world.saas.gates[FLAGS] = asyncio.Event()
    old = reply([flag_doc("a"), flag_doc("b")])
    work.world.saas.next[FLAGS] = [old]
    await work.everything()
    work.saas.put_flag(flag_doc("a", 2, state="off"))
    await work.hear(Action.PATCH, "a", 2)
    assert await work.world.versions() == {"a": 2, "b": 1}
    gate.set()
    await work.world.clock.settle()
    assert await work.world.versions() == {"a": 2, "b": 1}


@pytest.mark.parametrize("answer", [HTML, error(500), error(404), reply(None), UpstreamUnavailable("reset")])
async def test_a_bad_list_changes_nothing(work: Work, answer: object) -> None:
    """And is retried until it is good."""
    before = await work.world.config()
    work.saas.put_flag(flag_doc("c"))
    work.world.saas.always[FLAGS] = answer  # type: ignore[assignment]  # the parameter's type is the test's
    await work.everything()
    assert await work.world.config() is before
    assert isinstance(work.problem(), FfProxyError)
    await work.world.clock.advance(100)
    assert len(work.world.said(AWAY)) == 1
    del work.world.saas.always[FLAGS]
    await work.world.clock.advance(70)
    assert set((await work.world.config()).flags) == {"a", "b", "c"}
    assert work.problem() is None
    assert len(work.world.said(BACK)) == 1


async def test_an_empty_list_is_an_answer_if_it_comes_twice(work: Work) -> None:
    """Everything was deleted; until the second list everything is served, and said to be in doubt."""
    work.saas.flags.clear()
    await work.everything()
    assert await work.world.versions() == {"a": 1, "b": 1}
    assert "2 flags missing" in work.refresher.unconfirmed[0]
    await work.world.clock.advance(4)
    assert await work.world.versions() == {}
    assert work.refresher.unconfirmed == []


async def test_a_stray_empty_list_deletes_nothing(work: Work) -> None:
    """The next one has everything again."""
    before = (await work.world.config()).revision
    work.world.saas.next[FLAGS] = [reply([])]
    await work.everything()
    await work.world.clock.advance(4)
    assert (await work.world.config()).revision == before
    assert work.refresher.unconfirmed == []


async def test_lists_asked_for_at_once_confirm_nothing(work: Work) -> None:
    """Both may come from the same stray copy: seconds have to lie between them."""
    work.world.saas.next[FLAGS] = [reply([]), reply([]), reply([])]
    for _ in range(3):
        await work.everything()
    assert await work.world.versions() == {"a": 1, "b": 1}
    await work.world.clock.advance(4)
    assert await work.world.versions() == {"a": 1, "b": 1}


@pytest.mark.parametrize("route", [FLAG, FLAGS, SEGMENTS])
async def test_nothing_waits_for_what_hangs(work: Work, route: str) -> None:
    """Neither items nor lists, of whichever kind."""
    hanging = work.world.saas.gates[route] = asyncio.Event()
    work.saas.put_flag(flag_doc("a", 2))
    for number in range(20):
        await work.hear(Action.PATCH, f"hangs-{number}", 1, Domain.FLAG)
    await work.everything()
    del work.world.saas.gates[route]
    work.saas.put_flag(flag_doc("b", 2))
    work.saas.put_segment(segment_doc("s", 1))
    await work.hear(Action.PATCH, "b", 2)
    await work.hear(Action.CREATE, "s", 1, Domain.SEGMENT)
    await work.world.clock.advance(5)
    versions = await work.world.versions()
    assert (versions["b"], versions["s"]) == (2, 1)
    assert not hanging.is_set()


async def test_a_hanging_list_counts_as_out_of_touch(work: Work) -> None:
    """From when it was asked for, until one is answered."""
    work.world.saas.gates[FLAGS] = asyncio.Event()
    await work.everything()
    await work.world.clock.advance(8)
    assert work.response_tracker.unanswered_for == pytest.approx(8)
    work.world.saas.gates.pop(FLAGS).set()
    await work.world.clock.settle()
    assert work.response_tracker.unanswered_for == 0


async def test_a_lagging_list_does_not_undo_an_item(work: Work) -> None:
    """It has an older version than the item that was fetched before."""
    work.saas.put_flag(flag_doc("a", 2, state="off"))
    await work.hear(Action.PATCH, "a", 2)
    work.world.saas.next[FLAGS] = [reply([flag_doc("a"), flag_doc("b")])]
    await work.everything()
    assert (await work.world.versions()) == {"a": 2, "b": 1}


async def test_unchanged_data_changes_nothing(work: Work) -> None:
    """The revision stays, so that SDKs are told nothing."""
    before = (await work.world.config()).revision
    await work.everything()
    assert (await work.world.config()).revision == before


async def test_ended_token_is_renewed(work: Work) -> None:
    """For lists and for items."""
    work.world.saas.expire_tokens()
    work.saas.put_flag(flag_doc("a", 2))
    await work.hear(Action.PATCH, "a", 2)
    assert (await work.world.versions())["a"] == 2
    work.world.saas.expire_tokens()
    work.saas.put_flag(flag_doc("a", 3))
    await work.everything()
    assert (await work.world.versions())["a"] == 3


async def test_refused_environment_is_tried_slowly(work: Work) -> None:
    """What is held stays; the key may come back."""
    work.world.saas.keys.clear()
    work.world.saas.expire_tokens()
    await work.everything()
    assert isinstance(work.problem(), UpstreamRefused)
    assert await work.world.versions() == {"a": 1, "b": 1}
    asked = work.world.saas.count("/client/auth")
    await work.world.clock.advance(140)
    assert work.world.saas.count("/client/auth") == asked + 4  # each list twice
    work.world.saas.environment()
    await work.world.clock.advance(70)
    assert work.problem() is None


async def test_demand_does_not_wait_for_a_retry(work: Work) -> None:
    """A stream that comes back brings a whole fetch at once."""
    work.world.saas.down = True
    await work.everything()
    await work.world.clock.advance(300)
    work.world.saas.down = False
    work.saas.put_flag(flag_doc("c"))
    await work.everything()
    assert "c" in await work.world.versions()
    fetched = work.world.saas.count(FLAGS)
    await work.world.clock.advance(300)
    assert work.world.saas.count(FLAGS) == fetched


async def test_retries_do_not_pile_up(work: Work) -> None:
    """However often a whole fetch is asked for while SaaS is down."""
    work.world.saas.down = True
    for _ in range(50):
        await work.everything()
    assert work.world.clock.sleeping == 2  # one for each list


async def test_store_that_is_away(work: Work) -> None:
    """The item is written when it is back."""
    work.saas.put_flag(flag_doc("a", 2))
    work.world.configs.away = True
    await work.hear(Action.PATCH, "a", 2)
    await work.everything()
    assert "the store is away" in str(work.problem())
    await work.world.clock.advance(60)
    assert not work.world.said(STORE_BACK), "the item was left to the list, and the list waits"
    work.world.configs.away = False
    await work.world.clock.advance(60)
    assert (await work.world.versions())["a"] == 2
    assert len(work.world.said(STORE_BACK)) == 1


async def test_store_that_lost_the_environment(work: Work) -> None:
    """The next event brings everything back."""
    await work.world.configs.remove(ENVIRONMENT)
    work.saas.put_flag(flag_doc("a", 2))
    await work.hear(Action.PATCH, "a", 2)
    assert await work.world.versions() == {"a": 2, "b": 1}


async def test_items_wait_for_the_first_whole_fetch(world: World) -> None:
    """There is nothing to put them into."""
    work = Work(world, await world.credentials())
    async with running(work.refresher.run()):
        await work.hear(Action.CREATE, "a", 1)
    assert world.saas.count(FLAG) == 0
