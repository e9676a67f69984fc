"""What a fleet needs, and what breaks first when it grows."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.capacity import demand
from bench.capacity.case import Case
from bench.capacity.units import Units

RESERVED_FILES = 128
"""What a proxy keeps of its files for itself."""
TARGET_CAPACITY = 1_000_000
"""Targets that Redis keeps for one environment; some are forgotten beyond."""
REGISTRATIONS = 8
"""Targets that a member registers with Harness at a time."""
REGISTERED_A_SECOND = 200
"""And at most."""
HARNESS_SECONDS = 0.1
"""For Harness to answer: an assumption."""
REDIS_HEADROOM = 0.5
_FILLED = 0.8
"""The part of memory and files that is meant to be in use: load is never quite even."""
_MOST = 1e9


@dataclass(frozen=True, slots=True)
class Need:
    """Members needed for one reason; infinite if no number of them is enough."""

    reason: str
    members: float


@dataclass(frozen=True, slots=True)
class Limit:
    """A bound of the whole fleet that more members do not move: ``used`` is the share of it in use."""

    name: str
    used: float
    then: str


def needs(case: Case, units: Units) -> Sequence[Need]:
    """Members needed for each reason, most first."""
    member = case.member
    empty, connected = demand.memory(case, units)
    room = member.memory * _FILLED - empty
    cores = demand.cores(case, units)
    found = [
        Need("CPU", cores / (member.cores * member.headroom)),
        Need("memory", connected / room if room > 0 else math.inf),
        Need("open files", case.connections / max(1, (member.files - RESERVED_FILES) * _FILLED)),
        Need("network", demand.sent(case, units) / (member.network * member.headroom)),
        Need(
            "a change within its time", (demand.news_work(case, units) / case.within + cores) / member.cores
        ),
    ]
    return sorted(found, key=lambda need: -need.members)


def members(case: Case, units: Units) -> float:
    """Members needed, without one to spare; infinite if no number of them is enough."""
    most = needs(case, units)[0].members
    return most if math.isinf(most) else max(1.0, math.ceil(most))


def limits(case: Case, units: Units) -> Sequence[Limit]:
    """The bounds that more members do not move, the most used first."""
    count = members(case, units)
    if math.isinf(count):
        return ()
    asked = demand.redis(case, units, count)
    # An environment lives on one node: with fewer environments than nodes some have nothing to do.
    nodes = min(case.nodes, case.environments)
    rate = demand.rates(case)
    found = [
        Limit(
            "CPU of Redis", asked.cpu / nodes / REDIS_HEADROOM, "more nodes, if there are more environments"
        ),
        Limit(
            "network of Redis",
            asked.bytes / nodes / (case.member.network * REDIS_HEADROOM),
            "more nodes, if there are more environments",
        ),
        Limit(
            "a change read by every member",
            told_seconds(units, count) / case.within,
            "larger members, so that there are fewer",
        ),
        Limit(
            "usage that waits for Harness",
            demand.waiting(case) / demand.USAGE_CAPACITY,
            "counts beyond are dropped and counted: more environments",
        ),
        Limit(
            "usage sent to Harness",
            _counts_a_second(case) / (demand.USAGE_BODY / HARNESS_SECONDS),
            "counts wait, and are dropped and counted when too many do: more environments",
        ),
        Limit(
            "targets that Redis keeps",
            case.client / case.environments / TARGET_CAPACITY,
            "beyond, targets without a Harness-Target header are evaluated by identifier alone",
        ),
        Limit(
            "targets registered with Harness",
            rate.arrivals / (min(count, case.environments) * _registered_a_second()),
            "registrations beyond are dropped and counted; evaluations do not depend on them",
        ),
    ]
    return sorted(found, key=lambda limit: -limit.used)


def usage_lost(case: Case) -> float:
    """The share of counts that find no room, or are not sent as fast as they come."""
    sent = min(_counts_a_second(case), demand.USAGE_BODY / HARNESS_SECONDS)
    return 1 - min(1.0, demand.USAGE_CAPACITY / demand.waiting(case), sent / _counts_a_second(case))


def _counts_a_second(case: Case) -> float:
    return demand.waiting(case) / demand.sending(case)


def _registered_a_second() -> float:
    return min(REGISTRATIONS / HARNESS_SECONDS, REGISTERED_A_SECOND)


def told_seconds(units: Units, count: float) -> float:
    """Seconds in which Redis tells every member of one change."""
    return units.redis.change.cpu + units.redis.told.cpu * (count - 1)


def reached_seconds(case: Case, units: Units, count: float) -> float:
    """Seconds from the moment at which the leader has a change until every SDK has it."""
    return told_seconds(units, count) + demand.news_seconds(case, units, count)


def reached_at(case: Case, units: Units, name: str) -> float:
    """How many times the SDKs of ``case`` until the limit of that name is reached, with members as needed.

    Infinite if it is not within a thousand million times as many.
    """
    return _largest(lambda times: _used(case.times(times), units, name) <= 1)


def _used(case: Case, units: Units, name: str) -> float:
    return next((limit.used for limit in limits(case, units) if limit.name == name), math.inf)


def carried(case: Case, units: Units) -> tuple[float, str]:
    """How many times the SDKs of ``case`` one member carries, and what is used up then."""
    factor = _largest(lambda times: needs(case.times(times), units)[0].members <= 1)
    return factor, needs(case.times(factor * 1.01), units)[0].reason


def _largest(holds: Callable[[float], bool]) -> float:
    """The largest factor for which ``holds`` is true, which it is for all smaller ones."""
    low, high = 0.0, 1.0
    while holds(high):
        low, high = high, high * 2
        if high > _MOST:
            return math.inf
    for _ in range(50):
        middle = (low + high) / 2
        if holds(middle):
            low = middle
        else:
            high = middle
    return low
