"""Single items: one request each, in an order that never goes backwards."""

import asyncio

import pytest

from ff_proxy.model.environment import Action, Domain
from ff_proxy.upstream.transport import Reply
from tests.support.saas import JSON, error, flag_doc, reply, segment_doc
from tests.unit.upstream.refreshing import FLAG, FLAGS, Work
from tests.unit.upstream.world import AWAY, BACK


async def test_one_changed_flag_costs_one_request(work: Work) -> None:
    """And is in the store."""
    work.saas.put_flag(flag_doc("a", 2, state="off"))
    await work.hear(Action.PATCH, "a", 2)
    assert await work.world.versions() == {"a": 2, "b": 1}
    assert work.world.saas.count(FLAG) == 1
    assert work.world.saas.count(FLAGS) == 1


async def test_new_segment(work: Work) -> None:
    """Both forms are asked for."""
    work.saas.put_segment(segment_doc("s", 1))
    await work.hear(Action.CREATE, "s", 1, Domain.SEGMENT)
    assert await work.world.versions() == {"a": 1, "b": 1, "s": 1}


async def test_delete_events_are_trusted(work: Work) -> None:
    """A lagging replica of Harness must not keep a deleted flag."""
    await work.hear(Action.DELETE, "a", 2)
    assert await work.world.versions() == {"b": 1}
    assert work.world.saas.count(FLAG) == 0


async def test_a_404_that_stays_is_a_delete(work: Work) -> None:
    """Whatever the event said; the first one may be of a copy that lags."""
    del work.saas.flags["a"]
    await work.hear(Action.PATCH, "a", 2)
    assert await work.world.versions() == {"a": 1, "b": 1}
    await work.world.clock.advance(0.3)
    assert await work.world.versions() == {"b": 1}


async def test_a_gateways_404_is_not(work: Work) -> None:
    """The flag stays, and is asked for again."""
    work.saas.put_flag(flag_doc("a", 2))
    work.world.saas.next[FLAG] = [Reply(404, {"content-type": "text/html"}, b"<html>")]
    await work.hear(Action.PATCH, "a", 2)
    assert await work.world.versions() == {"a": 1, "b": 1}
    await work.world.clock.advance(1)
    assert await work.world.versions() == {"a": 2, "b": 1}


async def test_burst_is_conflated(work: Work) -> None:
    """A hundred events about one flag are not a hundred requests, and the last one counts."""
    gate = work.world.saas.gates[FLAG] = asyncio.Event()
    for version in range(2, 102):
        work.saas.put_flag(flag_doc("a", version))
        await work.hear(Action.PATCH, "a", version)
    gate.set()
    await work.world.clock.settle()
    assert (await work.world.versions())["a"] == 101
    assert work.world.saas.count(FLAG) <= 3


async def test_old_copy_is_asked_for_again(work: Work) -> None:
    """SaaS's copies may lag behind its own events."""
    await work.hear(Action.PATCH, "a", 2)
    assert await work.world.versions() == {"a": 1, "b": 1}
    work.saas.put_flag(flag_doc("a", 2))
    await work.world.clock.advance(0.3)
    assert await work.world.versions() == {"a": 2, "b": 1}


async def test_asking_again_ends(work: Work) -> None:
    """A version that never comes costs a few requests, fewer and fewer."""
    await work.hear(Action.PATCH, "a", 99)
    await work.world.clock.advance(60)
    assert work.world.saas.count(FLAG) <= 9
    await work.world.clock.advance(1200)
    asked = work.world.saas.count(FLAG)
    assert asked <= 25
    await work.world.clock.advance(3600)
    assert work.world.saas.count(FLAG) == asked
    assert work.world.saas.count(FLAGS) == 1


@pytest.mark.parametrize("seconds", [0.2, 2.0, 20.0, 200.0])
async def test_what_is_announced_is_read_once_it_can_be(work: Work, seconds: float) -> None:
    """However far SaaS's copies lag behind its own events, and long before the next list."""
    await work.hear(Action.PATCH, "a", 2)
    await work.world.clock.advance(seconds)
    work.saas.put_flag(flag_doc("a", 2))
    await work.world.clock.advance(max(1.5 * seconds, 0.5))
    assert await work.world.versions() == {"a": 2, "b": 1}
    assert work.world.saas.count(FLAGS) == 1


async def test_created_flag_that_is_not_there_yet(work: Work) -> None:
    """It is asked for again."""
    await work.hear(Action.CREATE, "c", 1)
    assert await work.world.versions() == {"a": 1, "b": 1}
    work.saas.put_flag(flag_doc("c"))
    await work.world.clock.advance(1)
    assert (await work.world.versions())["c"] == 1


async def test_item_that_cannot_be_fetched_leads_to_a_whole_fetch(work: Work) -> None:
    """After some tries."""
    work.saas.put_flag(flag_doc("a", 2))
    work.world.saas.always[FLAG] = error(500)
    await work.hear(Action.PATCH, "a", 2)
    assert (await work.world.versions())["a"] == 1
    await work.world.clock.advance(10)
    assert (await work.world.versions())["a"] == 2
    assert work.world.saas.count(FLAGS) == 2
    (line,) = work.world.said(AWAY)
    assert line["affected"] == ["single items"]
    assert len(work.world.said(BACK)) == 1


@pytest.mark.parametrize("route", [FLAG, FLAGS])
async def test_what_harness_asks_to_wait_is_waited(work: Work, route: str) -> None:
    """Whatever is asked for meanwhile: of one flag or of all there is one request in that time."""
    work.saas.put_flag(flag_doc("a", 2))
    work.world.saas.always[route] = Reply(429, JSON | {"retry-after": "40"}, b"{}")
    before = work.world.saas.count(route)
    for _ in range(3):
        if route == FLAG:
            await work.hear(Action.PATCH, "a", 2)
        else:
            await work.everything()
        await work.world.clock.advance(12)
    assert work.world.saas.count(route) == before + 1
    del work.world.saas.always[route]
    await work.world.clock.advance(45)
    assert (await work.world.versions())["a"] == 2


async def test_a_deletion_does_not_wait_for_what_harness_asks(work: Work) -> None:
    """It needs no request, and what is deleted must not be served for minutes."""
    work.saas.put_flag(flag_doc("a", 2))
    work.world.saas.always[FLAG] = Reply(429, JSON | {"retry-after": "200"}, b"{}")
    await work.hear(Action.PATCH, "a", 2)
    await work.world.clock.advance(3)
    asked = work.world.saas.count(FLAG)
    await work.hear(Action.DELETE, "a", 3)
    assert await work.world.versions() == {"b": 1}
    assert work.world.saas.count(FLAG) == asked


async def test_unreadable_item_keeps_its_last_form(work: Work) -> None:
    """Garbage does not drop a flag."""
    work.saas.put_flag(flag_doc("a", 2, variations=None))
    await work.hear(Action.PATCH, "a", 2)
    await work.everything()
    assert (await work.world.versions())["a"] == 1


async def test_a_retried_delete_looks_first(work: Work) -> None:
    """The flag may have been made again while the store was away."""
    work.world.configs.away = True
    await work.hear(Action.DELETE, "a", 2)
    work.saas.put_flag(flag_doc("a", 3, state="off"))
    work.world.configs.away = False
    await work.world.clock.advance(1)
    assert await work.world.versions() == {"a": 3, "b": 1}


async def test_a_retried_delete_deletes_what_is_gone(work: Work) -> None:
    """A 404 says so."""
    del work.saas.flags["a"]
    work.world.configs.away = True
    await work.hear(Action.DELETE, "a", 2)
    work.world.configs.away = False
    await work.world.clock.advance(1)
    assert await work.world.versions() == {"b": 1}


async def test_an_older_answer_that_comes_late_changes_nothing(work: Work) -> None:
    """What was asked first knows less, whichever answer is here first."""
    slow = work.world.saas.gates[FLAG] = asyncio.Event()
    old = reply(flag_doc("a", 2, state="on"))
    work.world.saas.next[FLAG] = [old]
    await work.hear(Action.PATCH, "a", 2)
    del work.world.saas.gates[FLAG]
    work.saas.put_flag(flag_doc("a", 3, state="off"))
    await work.everything()
    assert (await work.world.versions())["a"] == 3
    slow.set()
    await work.world.clock.settle()
    assert b'"state":"off"' in (await work.world.config()).flags["a"].wire
