"""A fleet in which nothing unusual happens: what its SDKs take, in closed form.

Every function takes a case and unit costs; CPU is in cores (seconds of CPU per second), all rates per second.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from bench.capacity.case import POLL_SECONDS, Case
from bench.capacity.sdks import BROWSERS
from bench.capacity.units import Asked, Units

HEARTBEAT_SECONDS = 14.0
USAGE_CAPACITY = 100_000
"""Counts that may wait for Harness in one environment; what is more is dropped, and counted."""
USAGE_MUCH = 20_000
"""So many are sent before the round is over."""
USAGE_LOOK = 10.0
"""Seconds between two looks whether there are so many."""
USAGE_BODY = 500
"""Counts that are sent to Harness at a time, for one environment after another."""
FLUSHES = 2.0
"""A member hands on usage every half second."""
ROUND_TRIP = 0.0005
"""Seconds, an assumption. A member has one check under way at a time; who comes meanwhile shares the next."""
_KINDS = 6
"""Kinds and versions of SDKs whose counts do not merge with each other: an assumption."""


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
    """Bytes of a member to which nobody is connected, and of all that SDKs are connected by.

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
    spare = max(0.05 * case.member.cores, case.member.cores - cores(case, units) / members)
    return news_work(case, units) / members / spare


def redis(case: Case, units: Units, members: float) -> Asked:
    """What Redis does in a second, all nodes together."""
    cost, rate = units.redis, rates(case)
    changes = case.changes / 60 * case.environments
    asked = cost.member * members + cost.led * case.environments
    asked += cost.followed * (case.environments * (members - 1))
    asked += cost.change * changes + cost.told * (changes * (members - 1))
    # Whoever comes while a check is under way shares the next one.
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
