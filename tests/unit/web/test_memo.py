"""Remembered answers are given only while everything they were made of is current."""

from collections.abc import AsyncIterator

import pytest

from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.target import Target
from ff_proxy.store.protocol import PutItem
from ff_proxy.web.counts import Tally
from ff_proxy.web.memo import Memo, Remembered
from ff_proxy.web.paths import Place, Resource
from ff_proxy.web.request import RequestHead
from ff_proxy.web.resources import Answer
from tests.support.clock import FakeClock
from tests.support.configs import ENVIRONMENT, config, flag
from tests.support.web import Site

FLAGS = Place(Resource.FLAGS, ENVIRONMENT)
EVALUATIONS = Place(Resource.EVALUATIONS, ENVIRONMENT, "", "jane", "jane")


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """Parts without a server; two environments are held."""
    made = Site(clock=FakeClock(), bypass=True)
    await made.hold(config(flag("a")), config(flag("b"), environment=EnvironmentId("other")))
    yield made
    made.listener.close()


def answer(site: Site, place: Place) -> Answer:
    """The answer to a plain request."""
    made = site.resources.answer(place, RequestHead("GET", b"", b"", {}))
    assert isinstance(made, Answer)
    return made


def put(site: Site, memo: Memo, name: bytes, place: Place) -> Remembered:
    """Remember it by lines and by bytes."""
    held = memo.put((name,), answer(site, place), b"\r\n", Tally())
    memo.put_exact(name, held)
    memo.put_without_noise(name, held)
    return held


async def test_it_is_found_both_ways(site: Site) -> None:
    """Whichever way one looks; and nothing else is."""
    memo = Memo(site.snapshots, site.resources)
    held = put(site, memo, b"one", FLAGS)
    assert memo.by_bytes(b"one") is memo.match_rest(b"one") is memo.match((b"one",)) is held
    assert memo.by_lines((b"one",)) is memo.by_rest(b"one") is held
    assert memo.by_bytes(b"two") is memo.match_rest(b"two") is memo.match((b"two",)) is None


async def test_a_swapped_snapshot_outdates_its_answers(site: Site) -> None:
    """At once, and those of no other environment; they are forgotten with the next sweep."""
    memo = Memo(site.snapshots, site.resources)
    old = put(site, memo, b"one", FLAGS)
    other = put(site, memo, b"two", Place(Resource.FLAGS, EnvironmentId("other")))
    await site.store.configs.apply(ENVIRONMENT, PutItem(flag("a", on=False, version=2)))
    before = old.good
    await site.snapshots.resync()
    assert before
    assert not old.good
    assert memo.match((b"one",)) is memo.match_rest(b"one") is None
    assert other.good
    memo.sweep()
    assert memo.by_bytes(b"one") is memo.by_rest(b"one") is None
    assert memo.by_bytes(b"two") is memo.by_rest(b"two") is memo.match((b"two",)) is other
    assert put(site, memo, b"one", FLAGS).good


async def test_a_changed_target_outdates_its_answers(site: Site) -> None:
    """One that is described for the first time as well; storing the same again changes nothing."""
    memo = Memo(site.snapshots, site.resources)
    changes = [
        (Target("joe"), True),
        (Target("jane"), False),
        (Target("jane"), True),
        (Target("jane", attributes={"plan": "gold"}), False),
    ]
    for target, good in changes:
        held = put(site, memo, b"one", EVALUATIONS)
        await site.store.targets.put(ENVIRONMENT, target)
        assert held.good is good


async def test_it_is_bounded(site: Site) -> None:
    """In bytes, every way; what is too long is not remembered by its bytes."""
    memo = Memo(site.snapshots, site.resources, budget=2_100_000)
    for number in range(1000):
        put(site, memo, b"%d" % number, FLAGS)
    assert 0 < len(memo._bytes) < 400
    assert 0 < len(memo._lines) < 400
    assert 0 < len(memo._rests) < 400
    put(site, memo, b"x" * 5000, FLAGS)
    assert memo.by_bytes(b"x" * 5000) is memo.by_rest(b"x" * 5000) is None


async def test_what_one_target_gets_weighs_in_full(site: Site) -> None:
    """However it is remembered; what all get is shared, and does not."""
    memo = Memo(site.snapshots, site.resources)
    shared, own = put(site, memo, b"one", FLAGS), put(site, memo, b"two", EVALUATIONS)
    assert own.weight - 2 * len(own.reply.body) < shared.weight - len(shared.reply.body) + 200
    assert own.weight > 2 * len(own.reply.body)
    small = Memo(site.snapshots, site.resources, budget=3 * 10 * own.weight)
    for number in range(100):
        put(site, small, b"%d" % number, EVALUATIONS)
    assert max(len(small._bytes), len(small._lines), len(small._rests)) <= 10


async def test_it_pauses_where_nothing_comes_twice(site: Site) -> None:
    """And tries again after a while; where things do come twice it goes on."""
    memo = Memo(site.snapshots, site.resources, budget=2_100_000)
    for number in range(500):
        put(site, memo, b"%d" % number, FLAGS)
    assert memo.by_bytes(b"499") is None
    for number in range(10_000):
        put(site, memo, b"again %d" % number, FLAGS)
    assert memo._bytes
    busy = Memo(site.snapshots, site.resources, budget=2_100_000)
    for number in range(500):
        put(site, busy, b"%d" % number, FLAGS).used = True
    assert busy.by_bytes(b"499") is not None
