"""What a fleet needs and uses, and what restarts cost it, in closed form.

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
"""If that many wait, they are sent before the interval is over."""
USAGE_LOOK = 10.0
"""Seconds between checks for that."""
USAGE_BODY = 500
"""Counts in one post to Harness."""
FLUSHES = 2.0
"""How often a second a member writes usage to Redis."""
ROUND_TRIP = 0.0005
"""Seconds, an assumption. A member makes one revision check at a time; requests meanwhile share the next."""
_KINDS = 6
"""Kinds and versions of SDKs whose counts do not merge with each other: an assumption."""
_RESERVED_FILES = 128
"""Files that a proxy needs for itself."""
TARGET_CAPACITY = 1_000_000
"""The most targets that Redis keeps of an environment."""
_REGISTRATIONS = 8
"""Concurrent registrations of a member with Harness."""
_REGISTERED_A_SECOND = 200
"""The most registrations of a member."""
HARNESS_SECONDS = 0.1
"""The response time of Harness: an assumption."""
_REDIS_HEADROOM = 0.5
_FILLED = 0.8
"""The share of memory and files to use: load is never quite even."""
_MOST = 1e9
_LEAST_FREE = 0.05
"""The share of a core that is free however busy a member is."""


@dataclass(frozen=True, slots=True)
class Rates:
    """Events a second in the whole fleet.

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
    """Cores that each kind of work takes, over all members."""
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
    """Cores in use, over all members."""
    # Rounded once, so that every Python comes to the same.
    return math.fsum(cpu(case, units).values())


def evaluation_fetched(units: Units) -> float:
    """Seconds of CPU for one evaluation after an event; a browser sends a preflight for each flag."""
    return units.evaluation + BROWSERS * units.preflight


def arrival(case: Case, units: Units) -> float:
    """Seconds of CPU for a new client SDK: authentication, every evaluation, a stream."""
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
    """Seconds of CPU, over all members, to announce a change in one environment and serve the fetches."""
    fetches = case.server * units.flag + case.client * evaluation_fetched(units)
    return (case.streams * units.event + fetches) / case.environments


def news_seconds(case: Case, units: Units, members: float) -> float:
    """Seconds that this takes ``members`` beside their other work."""
    spare = max(_LEAST_FREE * case.member.cores, case.member.cores - cores(case, units) / members)
    return news_work(case, units) / members / spare


def redis(case: Case, units: Units, members: float) -> Asked:
    """The work of Redis in a second, over all nodes."""
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
    """Writes of usage to Redis a second, if posts arrive at random."""
    slots = members * FLUSHES * case.environments
    return slots * -math.expm1(-rates(case).posts / slots)


def handed_on(case: Case, members: float) -> float:
    """Counts a second that members write to Redis: those of one flag, variation and target are merged.

    Server SDKs name one target for all; client SDKs each its own.
    """
    posted = (case.polling + case.server) / POLL_SECONDS * case.counts
    differing = flushes(case, members) * case.counts * _KINDS
    return min(posted, differing) + case.client / POLL_SECONDS * case.counts


def waiting(case: Case) -> float:
    """Counts that wait for Harness in one environment when they are sent."""
    return _waiting_after(case, sending(case))


def sending(case: Case) -> float:
    """Seconds between two posts of usage to Harness: less than configured if much waits."""
    after = USAGE_LOOK
    while after < case.sending and _waiting_after(case, after) < USAGE_MUCH:
        after += USAGE_LOOK
    return min(after, case.sending)


def _waiting_after(case: Case, seconds: float) -> float:
    own = case.counts * _KINDS if case.polling + case.server else 0
    return own + case.client * case.counts / case.environments * min(1.0, seconds / POLL_SECONDS)


@dataclass(frozen=True, slots=True)
class Harness:
    """The load on Harness: streams, usage posts a minute, new targets a second."""

    streams: float
    posts: float
    targets: float


def harness(case: Case) -> Harness:
    """One member follows each environment, sends its usage and registers its targets."""
    a_round = math.ceil(min(waiting(case), USAGE_CAPACITY) / USAGE_BODY) if case.sdks else 0
    posts = case.environments * a_round * 60 / sending(case)
    return Harness(float(case.environments), posts, rates(case).arrivals)


def redis_memory(case: Case, units: Units) -> float:
    """Bytes for all flags, and for one target of each client SDK."""
    flags = case.environments * case.flags * units.redis.flag_bytes
    return flags + case.client * units.redis.target_bytes


@dataclass(frozen=True, slots=True)
class Need:
    """Members needed for one reason; infinite if no number is enough."""

    reason: str
    members: float


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit that more members do not raise; ``used`` is the share of it in use."""

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
    """Members needed, without a spare one; infinite if no number is enough."""
    most = needs(case, units)[0].members
    return most if math.isinf(most) else max(1.0, math.ceil(most))


def limits(case: Case, units: Units) -> Sequence[Limit]:
    """The limits that more members do not raise, most used first."""
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
    """The share of counts that are dropped."""
    sent = min(_counts_a_second(case), USAGE_BODY / HARNESS_SECONDS)
    return 1 - min(1.0, USAGE_CAPACITY / waiting(case), sent / _counts_a_second(case))


def _counts_a_second(case: Case) -> float:
    return waiting(case) / sending(case)


def _registered_a_second() -> float:
    return min(_REGISTRATIONS / HARNESS_SECONDS, _REGISTERED_A_SECOND)


def told_seconds(units: Units, count: float) -> float:
    """Seconds until every member has read a change from Redis."""
    return units.redis.change.cpu + units.redis.told.cpu * (count - 1)


def reached_seconds(case: Case, units: Units, count: float) -> float:
    """Seconds from the leader's write of a change until every SDK has it."""
    return told_seconds(units, count) + news_seconds(case, units, count)


def reached_at(case: Case, units: Units, name: str) -> float:
    """By what factor the SDKs of ``case`` may grow until a limit is reached, with members as needed.

    Infinite if it is not within a thousand million times as many.
    """
    return _largest(lambda times: _used(case.times(times), units, name) <= 1)


def _used(case: Case, units: Units, name: str) -> float:
    return next((limit.used for limit in limits(case, units) if limit.name == name), math.inf)


def carried(case: Case, units: Units) -> tuple[float, str]:
    """By what factor the SDKs of ``case`` may grow on one member, and what limits it then."""
    factor = _largest(lambda times: needs(case.times(times), units)[0].members <= 1)
    return factor, needs(case.times(factor * 1.01), units)[0].reason


def _largest(holds: Callable[[float], bool]) -> float:
    """The largest factor for which ``holds`` is true; it is true for all smaller ones."""
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
    """A case with the members that it needs, and some spare ones."""

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
    """Seconds of CPU for an SDK to reconnect its stream, on average."""
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
    """Seconds until ``lost`` SDKs are connected again, if all reconnect at once and none gives up."""
    return lost * way_back(given.case, given.units) / cores_free


def member_back(given: Fleet) -> float:
    """``back_seconds`` for the SDKs of one killed member, on the others."""
    case, others = given.case, given.members - 1
    busy = cores(case, given.units)
    free = max(_LEAST_FREE * case.member.cores, case.member.cores * others - busy)
    return back_seconds(given, case.streaming / given.members, free)


def fleet_back(given: Fleet) -> float:
    """``back_seconds`` for all SDKs, after all members restart."""
    case, units = given.case, given.units
    ready = max(units.ready.points[0][1], units.ready.at(case.environments * case.flags))
    # Nothing else goes on while no SDK is connected.
    return ready + back_seconds(given, case.streaming, case.member.cores * given.members)


def redis_back(given: Fleet, lost: float) -> float:
    """Seconds of each Redis' CPU for ``lost`` SDKs that reconnect: targets are looked up and stored."""
    case, redis = given.case, given.units.redis
    asked = math.fsum(
        share * (sdk.evaluations * redis.evaluation.cpu + sdk.authentications * redis.auth.cpu)
        for sdk, share in case.mix
    )
    return lost * asked / min(case.nodes, case.environments)


def changes_seconds(given: Fleet, changes: int) -> float:
    """Seconds until everyone has that many simultaneous changes, each of another flag."""
    case, units = given.case, given.units
    return told_seconds(units, given.members) + changes * news_seconds(case, units, given.members)
