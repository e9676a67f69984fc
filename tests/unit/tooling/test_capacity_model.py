"""The capacity model in closed form: units from results, growth, needs and formulas."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.capacity import formulas
from bench.capacity.case import CLIENTS, SERVERS, Case, Member, joined
from bench.capacity.measured import LackingError, Wanted, read_units
from bench.capacity.units import Curve
from tests.unit.tooling.capacity_figures import UNITS, figures, report

CASES = st.builds(
    Case,
    polling=st.floats(0, 1e6),
    server=st.floats(1, 1e6),
    client=st.floats(0, 1e6),
    environments=st.integers(1, 50),
    flags=st.integers(1, 5000),
    changes=st.floats(0, 10),
    counts=st.integers(0, 50),
    session=st.sampled_from([0.0, 5.0]),
    tls=st.booleans(),
)


def test_units_are_worked_out_of_the_figures() -> None:
    """Requests per CPU second become seconds; differences become what is in between."""
    assert UNITS.poll.at(100) == pytest.approx(1 / 65_000)
    assert UNITS.connection == pytest.approx(28e-6)
    assert UNITS.handshake == pytest.approx(419e-6)
    assert UNITS.event == pytest.approx(7e-6)
    assert UNITS.post + 3 * UNITS.count == pytest.approx(40e-6)
    assert UNITS.post + 64 * UNITS.count == pytest.approx(650e-6)
    # A member of a fleet asks Redis first.
    assert UNITS.evaluations.at(100) == pytest.approx(250e-6)
    assert UNITS.evaluation == pytest.approx(1 / 15_000 + 250e-6 - 1 / 7_000)
    # What a Redis does of which nothing is asked is nobody's.
    assert UNITS.redis.member.cpu + UNITS.redis.led.cpu == pytest.approx(400e-6)
    assert UNITS.redis.told.bytes == pytest.approx(2_120)


def test_memory_is_worked_out_of_three_sizes() -> None:
    """What was measured comes out again."""
    for environments, flags, megabytes in ((1, 10, 54), (100, 200, 108), (1000, 30, 179)):
        case = Case(server=1, environments=environments, flags=flags)
        assert formulas.memory(case, UNITS)[0] == pytest.approx(megabytes * 1e6)


@pytest.mark.parametrize("lacking", list(figures()), ids=" ".join)
def test_what_is_lacking_is_named(lacking: Wanted) -> None:
    """Every figure is needed, and none is made up."""
    held = figures()
    del held[lacking]
    with pytest.raises(LackingError) as raised:
        read_units(report(held))
    assert raised.value.wanted == (lacking,)


def test_a_curve_is_straight_between_its_points_and_beyond() -> None:
    """Of 10 and 100 and 1,000 flags."""
    curve = Curve(((10, 1.0), (100, 10.0), (1000, 190.0)))
    assert [curve.at(count) for count in (10, 55, 100, 550, 1000, 1500)] == [1, 5.5, 10, 100, 190, 290]


def test_mixes_are_shares() -> None:
    """They come to one."""
    for mix in (SERVERS, CLIENTS, joined(3, 1)):
        assert sum(share for _, share in mix) == pytest.approx(1)


@given(CASES, st.sampled_from(["polling", "server", "client", "flags", "changes", "counts"]))
def test_more_of_anything_never_takes_less(case: Case, name: str) -> None:
    """Of CPU, of bytes, of members; with the same members, of Redis."""
    more = replace(case, **{name: getattr(case, name) * 2 + (1 if name == "flags" else 0)})
    exact = 1 + 1e-9
    assert sum(formulas.cpu(case, UNITS).values()) <= sum(formulas.cpu(more, UNITS).values()) * exact
    assert formulas.sent(case, UNITS) <= formulas.sent(more, UNITS) * exact
    assert formulas.members(case, UNITS) <= formulas.members(more, UNITS)
    assert formulas.redis(case, UNITS, 10).cpu <= formulas.redis(more, UNITS, 10).cpu * exact


@given(CASES)
def test_the_members_worked_out_are_enough_and_one_less_is_not(case: Case) -> None:
    """Needs are said from the largest to the smallest, and the largest counts."""
    found = formulas.needs(case, UNITS)
    assert [need.members for need in found] == sorted((need.members for need in found), reverse=True)
    members = formulas.members(case, UNITS)
    assert max(1, found[0].members) <= members < max(1, found[0].members) + 1


@pytest.mark.parametrize(
    "case", [Case(polling=1000), Case(server=1000), Case(client=1000, session=10), Case(server=1, tls=True)]
)
def test_what_one_member_carries_fills_it(case: Case) -> None:
    """A little more, and it takes two."""
    factor, _ = formulas.carried(case, UNITS)
    assert formulas.members(case.times(factor * 0.99), UNITS) == 1
    assert formulas.members(case.times(factor * 1.01), UNITS) == 2


def test_environments_that_do_not_fit_are_said_to_need_more_than_any_number_of_members() -> None:
    """More members do not help one whose memory is too small."""
    case = Case(server=10, environments=1000, flags=1000, member=Member(memory=1e9))
    assert formulas.members(case, UNITS) == float("inf")
    assert formulas.needs(case, UNITS)[0].reason == "memory"
    assert formulas.limits(case, UNITS) == ()


def test_a_limit_is_reached_where_it_is_used_up() -> None:
    """The number of SDKs is that at which all of it is in use."""
    case = Case(client=1000, environments=2)
    for limit in formulas.limits(case, UNITS):
        factor = formulas.reached_at(case, UNITS, limit.name)
        if factor < 1e6:
            used = {found.name: found.used for found in formulas.limits(case.times(factor), UNITS)}
            assert used[limit.name] == pytest.approx(1, rel=0.05)


FLEETS = [
    Case(server=3000),
    Case(client=200_000, session=10, environments=2),
    Case(server=20_000, client=50_000, tls=True, member=Member(cores=2)),
]


def fleet(case: Case) -> formulas.Fleet:
    """Its fleet."""
    found = formulas.fleet(case, UNITS)
    assert found is not None
    return found


def test_the_way_back_is_what_each_sdk_asks() -> None:
    """JavaScript opens its stream; Android authenticates before, and reads everything four times."""
    javascript, android, ios = (sdk for sdk, _ in CLIENTS)
    opened = UNITS.stream_of_many
    every = UNITS.evaluations.at(100)
    assert (javascript.name, android.name, ios.name) == ("JavaScript", "Android", "iOS")
    asked = 0.2 * (2 * UNITS.connection + 6 * every + UNITS.auth)
    assert formulas.way_back(Case(client=1), UNITS) == pytest.approx(opened + asked)
    handshakes = UNITS.handshake * (1 + 0.2 + 0.2)
    assert formulas.way_back(Case(client=1, tls=True), UNITS) == pytest.approx(opened + asked + handshakes)


@pytest.mark.parametrize("case", FLEETS)
def test_more_members_are_back_sooner(case: Case) -> None:
    """Whether one of them is killed or all are."""
    for back in (formulas.member_back, formulas.fleet_back):
        ends = [back(replace(fleet(case), members=members)) for members in (2, 4, 8, 800)]
        assert ends == sorted(ends, reverse=True)
        assert ends[-1] > 0


def test_all_are_not_back_before_members_are_ready() -> None:
    """However many members there are."""
    given = replace(fleet(FLEETS[0]), members=10**9)
    assert formulas.fleet_back(given) == pytest.approx(UNITS.ready.points[0][1], rel=0.01)


def test_what_redis_is_asked_is_shared_by_its_nodes() -> None:
    """As far as there are environments."""
    case = FLEETS[1]
    one, ten = (fleet(replace(case, nodes=nodes)) for nodes in (1, 10))
    expected = 1000 * 0.2 * (UNITS.redis.auth.cpu + 6 * UNITS.redis.evaluation.cpu)
    assert formulas.redis_back(one, 1000) == pytest.approx(expected)
    assert formulas.redis_back(ten, 1000) == pytest.approx(expected / 2)


@pytest.mark.parametrize("case", FLEETS)
def test_ten_changes_take_longer_than_one(case: Case) -> None:
    """Each is told, and fetched, by itself; one is what the members were counted for."""
    one, ten = (formulas.changes_seconds(fleet(case), changes) for changes in (1, 10))
    assert one < ten <= 10 * one
    assert one == formulas.reached_seconds(case, UNITS, fleet(case).members)
    assert one <= case.within
