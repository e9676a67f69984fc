"""The capacity simulations: nobody is lost, nothing is left to chance, more members never make it worse."""

from dataclasses import replace
from random import Random

import pytest

from bench.capacity import demand, scenarios
from bench.capacity.case import Case, Member
from bench.capacity.engine import Engine, Processor
from bench.capacity.news import Stage, spread
from bench.capacity.scenarios import NEWS, STORMS, Fleet
from bench.capacity.sdks import ALL, ANDROID, JAVASCRIPT, RUBY, SERVERS, Step, Wait, always
from bench.capacity.storm import Proxy, Storm, crowd
from tests.unit.tooling.capacity_figures import UNITS

CASES = {
    "servers": Case(server=3000),
    "clients": Case(client=200_000, session=10, environments=2),
    "both, TLS": Case(server=20_000, client=50_000, tls=True, member=Member(cores=2)),
}
COSTS = dict.fromkeys(Step, 0.001)


def made(name: str) -> Fleet:
    """The fleet of one of the cases."""
    fleet = scenarios.fleet(CASES[name], UNITS)
    assert fleet is not None
    return fleet


def test_work_is_done_in_the_order_in_which_it_comes() -> None:
    """What comes while there is work waits, and idle time is not made up for."""
    processor = Processor(2.0)
    assert [processor.serve(at, 1.0) for at in (0.0, 0.1, 5.0)] == [0.5, 1.0, 5.5]
    assert processor.longest == pytest.approx(0.4)
    assert processor.done == 3.0
    assert processor.peak == 1.0


def test_things_happen_in_order_of_time() -> None:
    """At the same time, in the order in which they were planned; and not after the end."""
    engine, seen = Engine(), list[str]()
    for time, name in ((2.0, "c"), (1.0, "a"), (1.0, "b"), (9.0, "late")):
        engine.at(time, seen.append, name)
    engine.run(until=5.0)
    assert seen == ["a", "b", "c"]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("happens", STORMS)
def test_everybody_comes_back(name: str, happens: str) -> None:
    """Whatever happens to the members, every SDK that streams again has its stream in the end."""
    told = STORMS[happens](made(name))
    assert told.back == pytest.approx(told.sdks)
    assert told.losses >= 0.99
    assert 0 <= told.half <= told.most <= told.last


@pytest.mark.parametrize("happens", [*STORMS, *NEWS])
def test_the_same_seed_gives_the_same(happens: str) -> None:
    """So that the page can be compared with what makes it."""
    scenario = STORMS.get(happens) or NEWS[happens]
    assert scenario(made("servers")) == scenario(made("servers"))


def test_sdks_that_never_stream_again_are_not_waited_for() -> None:
    """As Ruby's; the others come back all the same."""
    members = [Proxy(1.0, 100), Proxy(1.0, 100)]
    storm = Storm(COSTS, members, Random(1))
    storm.settle(crowd(((RUBY, 0.5), (JAVASCRIPT, 0.5)), 100, Random(1)), members[:1])
    storm.end_all(members[0], 0.0)
    told = storm.run()
    assert (told.sdks, told.back) == (50, 50)
    assert members[1].streams == 50


def test_streams_are_where_the_sdks_are() -> None:
    """After a deploy, members together hold what they held before."""
    fleet = made("servers")
    storm = Storm(COSTS, fleet.proxies(4), Random(1))
    storm.settle(crowd(SERVERS, 1000, Random(1)), storm.members)
    before = sum(member.streams for member in storm.members)
    for number, member in enumerate(storm.members):
        storm.engine.at(number * 100.0, storm.end_all, member, 3.0)
        storm.engine.at(number * 100.0 + 5, storm.begin, member)
    storm.run()
    assert sum(member.streams for member in storm.members) == pytest.approx(before)


def test_a_storm_without_jitter_takes_as_long_as_its_work() -> None:
    """At once, one member: as many times what one takes."""
    members = [Proxy(1.0, 1000), Proxy(0.5, 1000)]
    calm = replace(JAVASCRIPT, ended=always(0))
    storm = Storm(COSTS, members, Random(1))
    storm.settle(crowd(((calm, 1.0),), 600, Random(1)), members[:1])
    storm.end_all(members[0], 0.0)
    assert storm.run().last == pytest.approx(600 * 0.001 / 0.5)


def test_jitter_shortens_the_queue() -> None:
    """That is what it is for."""
    for kind in (scenarios.member_dies, scenarios.all_restart):
        assert kind(made("clients")).queue < kind(made("clients"), jitter=False).queue


def test_more_members_do_not_make_it_longer() -> None:
    """Of a fleet that restarts and all of whose SDKs come back at once."""
    fleet = made("clients")
    ends = [
        scenarios.all_restart(replace(fleet, members=fleet.members * times), jitter=False).last
        for times in (1, 2, 4)
    ]
    assert ends == sorted(ends, reverse=True)


def test_a_full_member_refuses_and_is_asked_again() -> None:
    """Whoever finds no room comes back when there is some."""
    full, other = Proxy(1.0, 10), Proxy(1.0, 10)
    storm = Storm(COSTS, [full, other], Random(1))
    storm.settle(crowd(((JAVASCRIPT, 1.0),), 10, Random(1)), [full])
    storm.settle(crowd(((JAVASCRIPT, 1.0),), 10, Random(2)), [other])
    storm.end_all(full, 0.0)
    storm.engine.at(100.0, storm.begin, full)
    told = storm.run()
    assert told.refused > 10
    assert told.back == 20


def test_an_sdk_that_waits_too_long_asks_again() -> None:
    """What it did not wait for costs all the same."""
    slow = Proxy(0.01, 1000)
    hasty = replace(JAVASCRIPT, ended=always(0), patience=10)
    storm = Storm(COSTS, [Proxy(1.0, 1000), slow], Random(1))
    storm.settle(crowd(((hasty, 1.0),), 200, Random(1)), storm.members[:1])
    storm.end_all(storm.members[0], 0.0)
    told = storm.run()
    assert told.given_up > 0
    assert told.back == 200
    assert slow.processor.done == pytest.approx((200 + told.given_up) * 0.001)


@pytest.mark.parametrize("sdk", ALL, ids=lambda sdk: sdk.name)
def test_waits_are_within_what_the_sdk_does(sdk: object) -> None:
    """Never less than the first, never more than the most."""
    chance = Random(1)
    for wait in (sdk.ended, sdk.refused):  # type: ignore[attr-defined]
        assert isinstance(wait, Wait)
        for attempt in range(1, 40):
            assert min(wait.low, wait.most) <= wait.draw(chance, attempt) <= wait.most


def test_a_change_takes_as_long_as_the_formula_says() -> None:
    """One member, and no Redis to ask."""
    case = Case(server=5000, changes=0)
    fleet = Fleet(case, UNITS, 1)
    fetch = case.server * UNITS.flag / case.streams
    stage = Stage([0.0], 1.0, case.streams, fleet.speed, UNITS.event, fetch)
    assert spread(stage).last == pytest.approx(demand.news_seconds(case, UNITS, 1), rel=0.02)


def test_nobody_misses_a_change() -> None:
    """Every stream of every member fetches, once for each change."""
    stage = Stage([0.0, 0.1, 0.2], 5.0, 2000, 1.0, 1e-5, 1e-5, check=1e-5)
    for changes in (1, 10):
        assert spread(stage, changes).fetched == pytest.approx(3 * 5 * 2000 * changes)


def test_ten_changes_take_longer_than_one() -> None:
    """And a member that is told later is later."""
    fleet = made("clients")
    one, ten = scenarios.flip(fleet), scenarios.burst(fleet)
    assert one.last < ten.last
    assert scenarios.leader_dies(fleet).last == pytest.approx(one.last + UNITS.takeover)
    assert scenarios.redis_lost(fleet).last >= UNITS.takeover


def test_the_first_request_after_a_loss_has_a_connection_of_its_own() -> None:
    """The old one was lost as well; the next requests use the new one."""
    costs = {**dict.fromkeys(Step, 0.0), Step.CONNECT: 0.5, Step.AUTH: 0.1}
    members = [Proxy(1.0, 10), Proxy(1.0, 10)]
    storm = Storm(costs, members, Random(1))
    storm.settle(crowd(((ANDROID, 1.0),), 1, Random(1)), members[:1])
    storm.end_all(members[0], 0.0)
    told = storm.run()
    assert members[1].processor.done == pytest.approx(0.6)
    assert told.asked == {**dict.fromkeys(Step, 0.0), Step.EVALUATIONS: 4, Step.AUTH: 1, Step.OPEN: 1}


def test_what_a_storm_asks_of_redis_is_shared_by_its_nodes() -> None:
    """As far as there are environments."""
    one, ten = (Fleet(replace(CASES["clients"], nodes=nodes), UNITS, 10) for nodes in (1, 10))
    told = scenarios.all_restart(one)
    expected = told.asked[Step.AUTH] * UNITS.redis.auth.cpu
    expected += told.asked[Step.EVALUATIONS] * UNITS.redis.evaluation.cpu
    assert scenarios.redis_seconds(told, one) == pytest.approx(expected)
    assert scenarios.redis_seconds(told, ten) == pytest.approx(expected / 2)
