"""What a fleet needs, what it uses, and what its end and its return cost, in closed form.

Every function takes a case and unit costs; CPU is in cores (seconds of CPU per second), all rates per second.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bench.capacity.case import BROWSERS, POLL_SECONDS, Case
from bench.capacity.units import Asked, Units

HEARTBEAT_SECONDS = 14.0
USAGE_CAPACITY = 100_000
"""Counts that may wait for Harness in one environment; more are dropped, and counted."""
USAGE_MUCH = 20_000
"""With that many, sending begins before the round is over."""
USAGE_LOOK = 10.0
"""Seconds between two checks for that many."""
USAGE_BODY = 500
"""Counts that are sent to Harness at a time, for one environment after another."""
FLUSHES = 2.0
"""A member hands on usage every half second."""
ROUND_TRIP = 0.0005
"""Seconds, an assumption. A member has one check under way at a time; who comes meanwhile shares the next."""
_KINDS = 6
"""Kinds and versions of SDKs whose counts do not merge with each other: an assumption."""
_RESERVED_FILES = 128
"""What a proxy keeps of its files for itself."""
TARGET_CAPACITY = 1_000_000
"""Targets that Redis keeps for one environment; some are forgotten beyond."""
_REGISTRATIONS = 8
"""Targets that a member registers with Harness at a time."""
_REGISTERED_A_SECOND = 200
"""And at most."""
HARNESS_SECONDS = 0.1
"""For Harness to answer: an assumption."""
_REDIS_HEADROOM = 0.5
_FILLED = 0.8
"""The part of memory and files that is meant to be in use: load is never quite even."""
_MOST = 1e9
_LEAST_FREE = 0.05
"""Of a core, however busy a member is."""


@dataclass(frozen=True, slots=True)
class Rates:
    """What happens each second in the whole fleet.

    Attributes:
        polls: bulk reads of flags and target groups.
        news: streams told of an event.
        flags: single flags fetched.
        evaluations: single evaluations fetched.
        posts: of usage.
        counts: in those posts.
        heartbeats: on streams.
        arrivals: client SDKs that authenticate, read every evaluation and open a stream.
    """

    polls: float
    news: float
    flags: float
    evaluations: float
    posts: float
    counts: float
    heartbeats: float
    arrivals: float


def rates(case: Case) -> Rates:
    """What the SDKs of ``case`` do each second."""
    changes = case.changes / 60
    return Rates(
        polls=case.polling / POLL_SECONDS,
        news=case.streams * changes,
        flags=case.server * changes,
        evaluations=case.client * changes,
        posts=case.sdks / POLL_SECONDS,
        counts=case.sdks / POLL_SECONDS * case.counts,
        heartbeats=case.streams / HEARTBEAT_SECONDS,
        arrivals=case.client / (case.session * 60) if case.session else 0.0,
    )


def cpu(case: Case, units: Units) -> Mapping[str, float]:
    """Cores that each thing takes, over all members."""
    rate = rates(case)
    return {
        "polls": rate.polls * (units.poll.at(case.flags) + units.groups),
        "events": rate.news * units.event,
        "fetches after events": rate.flags * units.flag + rate.evaluations * evaluation_fetched(units),
        "heartbeats": rate.heartbeats * units.heartbeat,
        "usage": rate.posts * units.post + rate.counts * units.count,
        "arrivals": rate.arrivals * arrival(case, units),
    }


def cores(case: Case, units: Units) -> float:
    """All of that."""
    # Rounded once, so that every Python comes to the same.
    return math.fsum(cpu(case, units).values())


def evaluation_fetched(units: Units) -> float:
    """Seconds of CPU for one evaluation after an event; a browser asks for each flag's for the first time."""
    return units.evaluation + BROWSERS * units.preflight


def arrival(case: Case, units: Units) -> float:
    """Seconds of CPU for a client SDK that comes: authentication, every evaluation, a stream."""
    requests = units.auth + units.evaluations.at(case.flags) + units.stream + units.connection
    handshakes = 2 * units.handshake if case.tls else 0.0
    # Browsers ask before each of these, and before their first usage.
    return requests + handshakes + BROWSERS * 4 * units.preflight


def sent(case: Case, units: Units) -> float:
    """Bytes a second that all members send to SDKs, compressed, without what TCP and TLS add."""
    rate = rates(case)
    return (
        rate.polls * (units.body.at(case.flags) + units.groups_body)
        + rate.news * units.event_body
        + rate.flags * units.flag_body
        + rate.evaluations * units.evaluation_body
        + rate.arrivals * units.evaluations_body.at(case.flags)
    )


def memory(case: Case, units: Units) -> tuple[float, float]:
    """Bytes of a member without connections, and of all connections of SDKs.

    With several cores there is a worker for each and a process that follows Harness, each with all flags.
    """
    processes = 1 if case.member.cores == 1 else case.member.cores + 1
    held = units.environment_bytes + case.flags * units.flag_bytes
    connected = case.streams * units.stream_bytes + case.sdks * units.connection_bytes
    if case.tls:
        connected += case.connections * units.tls_bytes
    return processes * (units.process_bytes + case.environments * held), connected


def news_work(case: Case, units: Units) -> float:
    """Seconds of CPU, of all members, for one environment's SDKs to be told of a change and to fetch."""
    fetches = case.server * units.flag + case.client * evaluation_fetched(units)
    return (case.streams * units.event + fetches) / case.environments


def news_seconds(case: Case, units: Units, members: float) -> float:
    """Seconds that this takes so many members, with what else they have to do."""
    spare = max(_LEAST_FREE * case.member.cores, case.member.cores - cores(case, units) / members)
    return news_work(case, units) / members / spare


def redis(case: Case, units: Units, members: float) -> Asked:
    """What Redis does in a second, all nodes together."""
    cost, rate = units.redis, rates(case)
    changes = case.changes / 60 * case.environments
    asked = cost.member * members + cost.led * case.environments
    asked += cost.followed * (case.environments * (members - 1))
    asked += cost.change * changes + cost.told * (changes * (members - 1))
    # Requests that come during a check share the next one.
    burst = news_seconds(case, units, members) / ROUND_TRIP
    asked += cost.fetch * min(rate.flags, changes * members * max(1.0, burst))
    # Every target is looked up by itself, if many at a time.
    asked += cost.evaluation * (rate.evaluations + rate.arrivals)
    asked += cost.auth * rate.arrivals
    asked += cost.post * flushes(case, members)
    return asked + cost.count * handed_on(case, members)


def flushes(case: Case, members: float) -> float:
    """How often members hand on usage of an environment, each second: when there is some, of random posts."""
    slots = members * FLUSHES * case.environments
    return slots * -math.expm1(-rates(case).posts / slots)


def handed_on(case: Case, members: float) -> float:
    """Counts a second that members hand on to Redis: those of the same flag, variation and target are merged.

    Server SDKs name one target for all; client SDKs each its own.
    """
    posted = (case.polling + case.server) / POLL_SECONDS * case.counts
    differing = flushes(case, members) * case.counts * _KINDS
    return min(posted, differing) + case.client / POLL_SECONDS * case.counts


def waiting(case: Case) -> float:
    """Counts that wait for Harness in one environment when a round begins."""
    return _waiting_after(case, sending(case))


def sending(case: Case) -> float:
    """Seconds between two rounds of usage to Harness: sooner than asked for where there is much."""
    after = USAGE_LOOK
    while after < case.sending and _waiting_after(case, after) < USAGE_MUCH:
        after += USAGE_LOOK
    return min(after, case.sending)


def _waiting_after(case: Case, seconds: float) -> float:
    own = case.counts * _KINDS if case.polling + case.server else 0
    return own + case.client * case.counts / case.environments * min(1.0, seconds / POLL_SECONDS)


@dataclass(frozen=True, slots=True)
class Harness:
    """What Harness sees of a fleet: streams open, posts of usage a minute, new targets a second."""

    streams: float
    posts: float
    targets: float


def harness(case: Case) -> Harness:
    """One member follows each environment, sends its usage and registers its targets."""
    a_round = math.ceil(min(waiting(case), USAGE_CAPACITY) / USAGE_BODY) if case.sdks else 0
    posts = case.environments * a_round * 60 / sending(case)
    return Harness(float(case.environments), posts, rates(case).arrivals)


def redis_memory(case: Case, units: Units) -> float:
    """Bytes for flags, and for as many targets as there are client SDKs at a time."""
    flags = case.environments * case.flags * units.redis.flag_bytes
    return flags + case.client * units.redis.target_bytes


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
    empty, connected = memory(case, units)
    room = member.memory * _FILLED - empty
    used = cores(case, units)
    found = [
        Need("CPU", used / (member.cores * member.headroom)),
        Need("memory", connected / room if room > 0 else math.inf),
        Need("open files", case.connections / max(1, (member.files - _RESERVED_FILES) * _FILLED)),
        Need("network", sent(case, units) / (member.network * member.headroom)),
        Need("a change within its time", (news_work(case, units) / case.within + used) / member.cores),
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
    asked = redis(case, units, count)
    # An environment lives on one node: with fewer environments than nodes some have nothing to do.
    nodes = min(case.nodes, case.environments)
    rate = rates(case)
    found = [
        Limit(
            "CPU of Redis", asked.cpu / nodes / _REDIS_HEADROOM, "more nodes, if there are more environments"
        ),
        Limit(
            "network of Redis",
            asked.bytes / nodes / (case.member.network * _REDIS_HEADROOM),
            "more nodes, if there are more environments",
        ),
        Limit(
            "a change read by every member",
            told_seconds(units, count) / case.within,
            "larger members, so that there are fewer",
        ),
        Limit(
            "usage that waits for Harness",
            waiting(case) / USAGE_CAPACITY,
            "counts beyond are dropped and counted: more environments",
        ),
        Limit(
            "usage sent to Harness",
            _counts_a_second(case) / (USAGE_BODY / HARNESS_SECONDS),
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
    sent = min(_counts_a_second(case), USAGE_BODY / HARNESS_SECONDS)
    return 1 - min(1.0, USAGE_CAPACITY / waiting(case), sent / _counts_a_second(case))


def _counts_a_second(case: Case) -> float:
    return waiting(case) / sending(case)


def _registered_a_second() -> float:
    return min(_REGISTRATIONS / HARNESS_SECONDS, _REGISTERED_A_SECOND)


def told_seconds(units: Units, count: float) -> float:
    """Seconds in which Redis tells every member of one change."""
    return units.redis.change.cpu + units.redis.told.cpu * (count - 1)


def reached_seconds(case: Case, units: Units, count: float) -> float:
    """Seconds from the moment at which the leader has a change until every SDK has it."""
    return told_seconds(units, count) + news_seconds(case, units, count)


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


@dataclass(frozen=True, slots=True)
class Fleet:
    """A case with its members: those that it needs, and some to spare."""

    case: Case
    units: Units
    members: int


def fleet(case: Case, units: Units) -> Fleet | None:
    """The fleet that ``case`` needs, with a tenth to spare; ``None`` if no number of members is enough."""
    least = members(case, units)
    if math.isinf(least):
        return None
    # With a tenth of all away, as a rolling deploy has it, the others are enough.
    return Fleet(case, units, int(least) + max(1, math.ceil(least / 9)))


def way_back(case: Case, units: Units) -> float:
    """Seconds of a member's CPU for one SDK that lost its stream to have it again, on average."""
    handshake = units.handshake if case.tls else 0.0
    opened = units.stream_of_many + handshake
    poll = units.poll.at(case.flags) + units.groups
    every = units.evaluations.at(case.flags)
    return math.fsum(
        share
        * (
            sdk.sockets * opened
            + (units.connection + handshake if sdk.asks else 0.0)
            + sdk.polls * poll
            + sdk.evaluations * every
            + sdk.authentications * units.auth
        )
        for sdk, share in case.mix
    )


def back_seconds(given: Fleet, lost: float, cores_free: float) -> float:
    """Seconds until ``lost`` SDKs have their streams again if all come at once and none gives up."""
    return lost * way_back(given.case, given.units) / cores_free


def member_back(given: Fleet) -> float:
    """The same for those of one member that is killed, shared out among the others."""
    case, others = given.case, given.members - 1
    busy = cores(case, given.units)
    free = max(_LEAST_FREE * case.member.cores, case.member.cores * others - busy)
    return back_seconds(given, case.streaming / given.members, free)


def fleet_back(given: Fleet) -> float:
    """The same for everybody, when all members are killed and start again."""
    case, units = given.case, given.units
    ready = max(units.ready.points[0][1], units.ready.at(case.environments * case.flags))
    # Nothing else goes on while no SDK is connected.
    return ready + back_seconds(given, case.streaming, case.member.cores * given.members)


def redis_back(given: Fleet, lost: float) -> float:
    """Seconds of CPU of each Redis for ``lost`` SDKs that come back: targets looked up, and stored."""
    case, redis = given.case, given.units.redis
    asked = math.fsum(
        share * (sdk.evaluations * redis.evaluation.cpu + sdk.authentications * redis.auth.cpu)
        for sdk, share in case.mix
    )
    return lost * asked / min(case.nodes, case.environments)


def changes_seconds(given: Fleet, changes: int) -> float:
    """Seconds until everyone has so many changes of one moment, each of another flag."""
    case, units = given.case, given.units
    return told_seconds(units, given.members) + changes * news_seconds(case, units, given.members)
