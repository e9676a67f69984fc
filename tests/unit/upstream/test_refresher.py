"""The work list: whole fetches and single items, in an order that never goes backwards."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from ff_proxy.errors import FfProxyError, UpstreamRefused, UpstreamUnavailable
from ff_proxy.model.environment import Action, Change, Domain
from ff_proxy.upstream.credentials import Credentials
from ff_proxy.upstream.fetcher import Fetcher
from ff_proxy.upstream.http import Reply
from ff_proxy.upstream.refresher import Refresher
from ff_proxy.upstream.writer import EnvironmentWriter, KeyRing
from tests.support.saas import ENV, HTML, KEY, FakeEnvironment, error, flag_doc, reply, segment_doc
from tests.unit.upstream.world import ENVIRONMENT, World, running

FLAGS = "/client/env/{env}/feature-configs"
FLAG = f"{FLAGS}/{{id}}"


class Work:
    """A running refresher over the world."""

    def __init__(self, world: World, credentials: Credentials) -> None:
        self.world = world
        self.reports: list[FfProxyError | None] = []
        self.writer = EnvironmentWriter(world.configs, ENVIRONMENT, KeyRing([KEY.hash]), loaded=False)
        self.refresher = Refresher(
            credentials=credentials,
            fetcher=Fetcher(world.api, world.telemetry),
            writer=self.writer,
            gate=asyncio.Semaphore(1),
            telemetry=world.telemetry,
            rhythm=world.rhythm,
            refused=60.0,
            report=self._report,
        )

    @property
    def saas(self) -> FakeEnvironment:
        """What SaaS holds."""
        return self.world.saas.environments[ENV]

    def trouble(self) -> FfProxyError | None:
        """Why the last whole fetch failed."""
        return self.refresher.trouble

    async def everything(self) -> None:
        """Ask for everything and let it happen."""
        self.refresher.refresh_all()
        await self.world.clock.settle()

    async def hear(self, action: Action, identifier: str, version: int, domain: Domain = Domain.FLAG) -> None:
        """An event, and what follows from it at once."""
        self.refresher.refresh(Change(action, domain, identifier, version))
        await self.world.clock.settle()

    async def _report(self, error: FfProxyError | None) -> None:
        self.reports.append(error)


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
    assert work.reports == [None]


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


async def test_delete_is_believed(work: Work) -> None:
    """A lagging copy of SaaS must not keep a deleted flag alive."""
    await work.hear(Action.DELETE, "a", 2)
    assert await work.world.versions() == {"b": 1}
    assert work.world.saas.count(FLAG) == 0


async def test_a_404_is_a_delete(work: Work) -> None:
    """Whatever the event said."""
    del work.saas.flags["a"]
    await work.hear(Action.PATCH, "a", 2)
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
    assert work.world.saas.count(FLAG) == 0
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
    """A version that never comes costs a few requests."""
    await work.hear(Action.PATCH, "a", 99)
    await work.world.clock.advance(3600)
    assert work.world.saas.count(FLAG) == 4
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
    assert work.world.log.count("item not fetched") == 1


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
    assert isinstance(work.trouble(), FfProxyError)
    await work.world.clock.advance(100)
    assert work.world.log.count("not in step with SaaS") == 1
    del work.world.saas.always[FLAGS]
    await work.world.clock.advance(70)
    assert set((await work.world.config()).flags) == {"a", "b", "c"}
    assert work.trouble() is None
    assert "in step with SaaS again" in work.world.log


async def test_an_empty_list_is_an_answer(work: Work) -> None:
    """Everything was deleted."""
    work.saas.flags.clear()
    await work.everything()
    assert await work.world.versions() == {}


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
    assert isinstance(work.trouble(), UpstreamRefused)
    assert await work.world.versions() == {"a": 1, "b": 1}
    asked = work.world.saas.count("/client/auth")
    await work.world.clock.advance(140)
    assert work.world.saas.count("/client/auth") == asked + 2
    work.world.saas.environment()
    await work.world.clock.advance(70)
    assert work.trouble() is None


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
    assert work.world.clock.sleeping == 1


async def test_store_that_is_away(work: Work) -> None:
    """The item is written when it is back."""
    work.saas.put_flag(flag_doc("a", 2))
    work.world.configs.away = True
    await work.hear(Action.PATCH, "a", 2)
    await work.everything()
    assert "the store is away" in str(work.trouble())
    work.world.configs.away = False
    await work.world.clock.advance(60)
    assert (await work.world.versions())["a"] == 2


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
