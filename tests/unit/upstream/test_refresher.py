"""The work list: whole fetches and single items, in an order that never goes backwards."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from ff_proxy.aio.limiter import PatientLimiter
from ff_proxy.errors import FfProxyError, UpstreamRefused, UpstreamUnavailable
from ff_proxy.model.environment import Action, Change, Domain
from ff_proxy.upstream.credentials import Credentials
from ff_proxy.upstream.fetcher import Fetcher
from ff_proxy.upstream.intervals import SyncIntervals
from ff_proxy.upstream.refresher import Refresher
from ff_proxy.upstream.response_tracker import ResponseTracker
from ff_proxy.upstream.transport import Reply
from ff_proxy.upstream.writer import EnvironmentWriter, KeyRing
from tests.support.saas import ENV, HTML, JSON, KEY, FakeEnvironment, error, flag_doc, reply, segment_doc
from tests.unit.upstream.world import AWAY, BACK, ENVIRONMENT, STORE_BACK, World, running

FLAGS = "/client/env/{env}/feature-configs"
SEGMENTS = "/client/env/{env}/target-segments"
FLAG = f"{FLAGS}/{{id}}"


class Work:
    """A running refresher over the world."""

    def __init__(self, world: World, credentials: Credentials) -> None:
        self.world = world
        self.reports: list[FfProxyError | None] = []
        self.writer = EnvironmentWriter(
            world.configs, ENVIRONMENT, KeyRing([KEY.hash]), world.clock, loaded=False
        )
        self.response_tracker = ResponseTracker(world.clock)
        self.refresher = Refresher(
            credentials=credentials,
            fetcher=Fetcher(world.api, world.telemetry),
            writer=self.writer,
            response_tracker=self.response_tracker,
            limiter=PatientLimiter(2, 2.0, world.clock),
            telemetry=world.telemetry,
            schedule=world.schedule,
            intervals=SyncIntervals(),
            report=self._report,
        )

    @property
    def saas(self) -> FakeEnvironment:
        """What SaaS holds."""
        return self.world.saas.environments[ENV]

    def problem(self) -> FfProxyError | None:
        """Why the last whole fetch failed."""
        return self.refresher.last_error

    async def everything(self) -> None:
        """Ask for everything and let it happen."""
        self.refresher.refresh_all()
        await self.world.clock.settle()

    async def hear(self, action: Action, identifier: str, version: int, domain: Domain = Domain.FLAG) -> None:
        """An event, and what follows from it at once."""
        self.refresher.refresh(Change(action, domain, identifier, version))
        await self.world.clock.settle()

    async def _report(self) -> None:
        self.reports.append(self.refresher.last_error)


@pytest.fixture
async def work(world: World) -> AsyncIterator[Work]:
    """Running, with the flags a and b held."""
    world.saas.environments[ENV].put_flag(flag_doc("a"))
    world.saas.environments[ENV].put_flag(flag_doc("b"))
    made = Work(world, await world.credentials())
    async with running(made.refresher.run()):
        await made.everything()
        yield made


async def test_everything_is_loaded(work: Work) -> None:
    """With keys, and reported."""
    config = await work.world.config()
    assert set(config.flags) == {"a", "b"}
    assert config.keys == {KEY.hash}
    assert config.info.identifier == "production"
    assert work.writer.loaded
    assert work.reports == [None, None]


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


async def test_unreadable_item_keeps_its_last_form(work: Work) -> None:
    """Garbage does not drop a flag."""
    work.saas.put_flag(flag_doc("a", 2, variations=None))
    await work.hear(Action.PATCH, "a", 2)
    await work.everything()
    assert (await work.world.versions())["a"] == 1


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
