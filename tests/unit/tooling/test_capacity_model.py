"""The capacity model in closed form: units from results, growth, needs and limits."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.capacity import demand, limits
from bench.capacity.case import Case, Member
from bench.capacity.measured import LackingError, Wanted, read_units
from bench.capacity.sdks import ALL, CLIENTS, NET, SERVERS, Step, average, joined
from bench.capacity.steady import steady
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
        assert demand.memory(case, UNITS)[0] == pytest.approx(megabytes * 1e6)


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
    """They come to one, and averages count each SDK by its share."""
    for mix in (SERVERS, CLIENTS, joined(3, 1)):
        assert sum(share for _, share in mix) == pytest.approx(1)
    assert average(((NET, 0.5), (ALL[0], 0.5)), Step.POLL) == 0.5


@given(CASES, st.sampled_from(["polling", "server", "client", "flags", "changes", "counts"]))
def test_more_of_anything_never_takes_less(case: Case, name: str) -> None:
    """Of CPU, of bytes, of members; with the same members, of Redis."""
    more = replace(case, **{name: getattr(case, name) * 2 + (1 if name == "flags" else 0)})
    exact = 1 + 1e-9
    assert sum(demand.cpu(case, UNITS).values()) <= sum(demand.cpu(more, UNITS).values()) * exact
    assert demand.sent(case, UNITS) <= demand.sent(more, UNITS) * exact
    assert limits.members(case, UNITS) <= limits.members(more, UNITS)
    assert demand.redis(case, UNITS, 10).cpu <= demand.redis(more, UNITS, 10).cpu * exact


@given(CASES)
def test_the_members_worked_out_are_enough_and_one_less_is_not(case: Case) -> None:
    """Needs are said from the largest to the smallest, and the largest counts."""
    found = limits.needs(case, UNITS)
    assert [need.members for need in found] == sorted((need.members for need in found), reverse=True)
    members = limits.members(case, UNITS)
    assert max(1, found[0].members) <= members < max(1, found[0].members) + 1


@pytest.mark.parametrize(
    "case", [Case(polling=1000), Case(server=1000), Case(client=1000, session=10), Case(server=1, tls=True)]
)
def test_what_one_member_carries_fills_it(case: Case) -> None:
    """A little more, and it takes two."""
    factor, _ = limits.carried(case, UNITS)
    assert limits.members(case.times(factor * 0.99), UNITS) == 1
    assert limits.members(case.times(factor * 1.01), UNITS) == 2


def test_environments_that_do_not_fit_are_said_to_need_more_than_any_number_of_members() -> None:
    """More members do not help one whose memory is too small."""
    case = Case(server=10, environments=1000, flags=1000, member=Member(memory=1e9))
    assert limits.members(case, UNITS) == float("inf")
    assert limits.needs(case, UNITS)[0].reason == "memory"
    assert limits.limits(case, UNITS) == ()


def test_a_limit_is_reached_where_it_is_used_up() -> None:
    """The number of SDKs is that at which all of it is in use."""
    case = Case(client=1000, environments=2)
    for limit in limits.limits(case, UNITS):
        factor = limits.reached_at(case, UNITS, limit.name)
        if factor < 1e6:
            used = {found.name: found.used for found in limits.limits(case.times(factor), UNITS)}
            assert used[limit.name] == pytest.approx(1, rel=0.05)


@pytest.mark.parametrize(
    "case",
    [
        Case(polling=20_000),
        Case(server=20_000, changes=6),
        Case(client=20_000, changes=6, session=5, environments=3, tls=True),
        Case(polling=500, server=500, client=500, member=Member(cores=4)),
    ],
)
def test_one_sdk_after_another_comes_to_what_the_formulas_say(case: Case) -> None:
    """The simulated steady state uses the CPU that the closed form has."""
    members = 2
    expected = sum(demand.cpu(case, UNITS).values()) / members / case.member.cores
    assert steady(case, UNITS, members, seconds=1200).used == pytest.approx(expected, rel=0.05)
