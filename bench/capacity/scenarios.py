"""What happens to fleets: each scenario, simulated for a case with its unit costs."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random

from bench.capacity import demand, limits
from bench.capacity.case import Case
from bench.capacity.engine import Engine, Processor
from bench.capacity.news import Spread, Stage, spread
from bench.capacity.sdks import Step
from bench.capacity.storm import Costs, Proxy, Storm, Told, crowd
from bench.capacity.units import Units

SEED = 20
DRAIN_SECONDS = 3.0
"""Over which a proxy that is asked to stop ends its streams (option ``shutdown-delay``)."""
KEEPER_SECONDS = 2.0
"""Between two looks of a member whether Redis was emptied."""
REMEMBERED = 20_000
"""Targets that a member remembers."""
_BATCH = 500
_BATCHES = 10
PAUSE_SECONDS = 15.0
"""Seconds from a new member's start to the end of the next: an assumption."""
_ALIKE = 8
"""Members that stand for all where all fare alike."""
_SHOWN = 1000
"""Members that are simulated at most where they do not fare alike."""
_LEAST_SPEED = 0.05


@dataclass(frozen=True, slots=True)
class Fleet:
    """A case with its members: those that it needs, and some to spare."""

    case: Case
    units: Units
    members: int

    @property
    def background(self) -> float:
        """Cores of a member that are used all the time."""
        return demand.cores(self.case, self.units) / self.members

    @property
    def speed(self) -> float:
        """Cores of a member that are free."""
        return max(_LEAST_SPEED * self.case.member.cores, self.case.member.cores - self.background)

    @property
    def room(self) -> float:
        """Streams that a member can take: each SDK has another connection, and there is its memory."""
        empty, connected = demand.memory(self.case, self.units)
        files = (self.case.member.files - limits.RESERVED_FILES) / self.case.connections
        return self.case.streams * min(files, (self.case.member.memory - empty) / max(1.0, connected))

    @property
    def costs(self) -> Costs:
        """Seconds of CPU of each request in a storm."""
        case, units = self.case, self.units
        handshake = units.handshake if case.tls else 0.0
        return {
            Step.POLL: units.poll.at(case.flags) + units.groups,
            Step.EVALUATIONS: units.evaluations.at(case.flags),
            Step.AUTH: units.auth,
            Step.OPEN: units.stream_of_many + handshake,
            Step.CONNECT: units.connection + handshake,
        }

    @property
    def ready(self) -> float:
        """Seconds from a start to ready."""
        return max(
            self.units.ready.points[0][1], self.units.ready.at(self.case.environments * self.case.flags)
        )

    def proxies(self, count: int, *, spare: float = 1.0) -> list[Proxy]:
        """So many members; ``spare`` is the part of their background that goes on."""
        speed = self.case.member.cores - self.background * spare
        return [Proxy(max(_LEAST_SPEED, speed), self.room) for _ in range(count)]


def fleet(case: Case, units: Units) -> Fleet | None:
    """The fleet that ``case`` needs, with a tenth to spare; ``None`` if no number of members is enough."""
    least = limits.members(case, units)
    if math.isinf(least):
        return None
    # With a tenth of all away, as a rolling deploy has it, the others are enough.
    return Fleet(case, units, int(least) + max(1, math.ceil(least / (_BATCHES - 1))))


Stormy = Callable[[Fleet], Told]
Newsy = Callable[[Fleet], Spread]


def member_dies(given: Fleet, *, jitter: bool = True) -> Told:
    """One member is killed: its connections break, and its SDKs find the others."""
    storm, members = _one_of_all(given, jitter=jitter)
    storm.end_all(members[0], 0.0)
    return storm.run()


def member_stops(given: Fleet) -> Told:
    """One member is asked to stop: it ends its streams one by one."""
    storm, members = _one_of_all(given)
    storm.end_all(members[0], DRAIN_SECONDS)
    return storm.run()


def member_vanishes(given: Fleet) -> Told:
    """One member's machine is gone without a word: SDKs notice when heartbeats do not come."""
    storm, members = _one_of_all(given)
    storm.silence(members[0])
    return storm.run()


def all_restart(given: Fleet, *, jitter: bool = True) -> Told:
    """All members are killed at once, and are there again as soon as they are ready."""
    count = min(_ALIKE, given.members)
    # Nothing else goes on while nobody is connected.
    members = given.proxies(count, spare=0.0)
    chance = Random(SEED)
    storm = Storm(given.costs, members, chance, jitter=jitter)
    share = given.case.streaming * count / given.members
    storm.settle(crowd(given.case.mix, share, chance), members)
    for member in members:
        storm.end_all(member, 0.0)
        storm.engine.at(given.ready, storm.begin, member)
    return _for_all(storm.run(), given, count)


def rolling_deploy(given: Fleet, *, fewest: bool = False) -> Told:
    """Members are replaced by tenths, each after the last one's new members are ready."""
    count = min(_BATCHES, given.members)
    members = given.proxies(count)
    chance = Random(SEED)
    storm = Storm(given.costs, members, chance, fewest=fewest)
    share = given.case.streaming * count / given.members
    storm.settle(crowd(given.case.mix, share, chance), members)
    begin = 0.0
    for member in members:
        storm.engine.at(begin, storm.end_all, member, DRAIN_SECONDS)
        up = begin + DRAIN_SECONDS + given.ready
        storm.engine.at(up, storm.begin, member)
        begin = up + PAUSE_SECONDS
    return _for_all(storm.run(), given, count)


def flip(given: Fleet, changes: int = 1) -> Spread:
    """So many flags are changed in one moment."""
    return spread(_stage(given, _told(given, 0.0)), changes)


def burst(given: Fleet) -> Spread:
    """Ten flags are changed in one moment."""
    return flip(given, 10)


def leader_dies(given: Fleet) -> Spread:
    """A flag is changed at the moment at which the member that follows Harness is killed."""
    return spread(_stage(given, _told(given, given.units.takeover)))


def redis_lost(given: Fleet) -> Spread:
    """Redis comes back empty after a while in which a flag was changed; the times are from its return.

    Every member puts back the targets that it remembers; the lease is taken anew, the change is written, and
    members read it between what is put back.
    """
    engine, redis, chance = Engine(), Processor(1.0), Random(SEED)
    shown = min(_SHOWN, given.members)
    work = _BATCH * given.units.redis.kept.cpu * given.members / shown
    remembered = min(REMEMBERED, given.case.client / given.members) / given.case.nodes

    def put_back(left: float) -> None:
        if left > 0:
            engine.at(redis.serve(engine.now, work), put_back, left - _BATCH)

    for _ in range(shown):
        engine.at(chance.uniform(0, KEEPER_SECONDS), put_back, remembered)
    told: list[float] = []
    for place in _places(given):
        # Whoever is told asks Redis in turn with all others.
        due = given.units.takeover + given.units.redis.change.cpu + given.units.redis.told.cpu * place
        engine.at(due, lambda: told.append(redis.serve(engine.now, given.units.redis.told.cpu)))
    engine.run(until=1e9)
    return spread(_stage(given, told))


def _told(given: Fleet, first: float) -> Sequence[float]:
    """When the simulated members know of a change: Redis answers one after another."""
    redis = given.units.redis
    return [first + redis.change.cpu + redis.told.cpu * place for place in _places(given)]


def _places(given: Fleet) -> Sequence[float]:
    """Of the simulated members, in the order in which Redis answers all."""
    count = min(_ALIKE, given.members)
    return [given.members / count * (place + 1) for place in range(count)]


def _stage(given: Fleet, told: Sequence[float]) -> Stage:
    case, units = given.case, given.units
    streams = case.streams / case.environments / given.members
    fetched = case.server * units.flag + case.client * demand.evaluation_fetched(units)
    fetch = fetched / max(1.0, case.streams)
    lookup = units.redis.evaluation.cpu * case.client / max(1.0, case.streams)
    return Stage(
        told,
        stands_for=given.members / len(told),
        streams=streams,
        speed=given.speed,
        event=units.event,
        fetch=fetch,
        check=units.redis.fetch.cpu,
        lookup=lookup,
    )


def _for_all(told: Told, given: Fleet, count: int) -> Told:
    """What so many members came to, as that of all."""
    times = given.members / count
    return replace(
        told,
        sdks=told.sdks * times,
        back=told.back * times,
        refused=told.refused * times,
        given_up=told.given_up * times,
        asked={step: count * times for step, count in told.asked.items()},
    )


def _one_of_all(given: Fleet, *, jitter: bool = True) -> tuple[Storm, list[Proxy]]:
    """Members of which only the first one's SDKs matter; the others hold theirs."""
    # Of more, each of the others would have even less to do.
    members = given.proxies(min(_SHOWN, max(2, given.members)))
    chance = Random(SEED)
    storm = Storm(given.costs, members, chance, jitter=jitter)
    storm.settle(crowd(given.case.mix, given.case.streaming / given.members, chance), members[:1])
    for member in members[1:]:
        member.streams = given.case.streams / given.members
    return storm, members


DEPLOY_IN_TURN = "rolling deploy, members in turn"
DEPLOY_TO_FEWEST = "rolling deploy, to the fewest streams"
RESTART = "all members restart"
RESTART_AT_ONCE = "all restart, and all come back at once"

STORMS: Mapping[str, Stormy] = {
    "a member is killed": member_dies,
    "a member is killed, and all come back at once": lambda given: member_dies(given, jitter=False),
    "a member is asked to stop": member_stops,
    "a member's machine vanishes": member_vanishes,
    DEPLOY_IN_TURN: rolling_deploy,
    DEPLOY_TO_FEWEST: lambda given: rolling_deploy(given, fewest=True),
    RESTART: all_restart,
    RESTART_AT_ONCE: lambda given: all_restart(given, jitter=False),
}
NEWS: Mapping[str, Newsy] = {
    "one flip": flip,
    "ten flips in one moment": burst,
    "a flip as the leader dies": leader_dies,
    "a flip while Redis is away, after its return": redis_lost,
}


def redis_seconds(told: Told, given: Fleet) -> float:
    """Seconds of CPU that a storm asks of each Redis: for targets stored at authentication, and looked up."""
    redis = given.units.redis
    asked = told.asked.get(Step.AUTH, 0.0) * redis.auth.cpu
    asked += told.asked.get(Step.EVALUATIONS, 0.0) * redis.evaluation.cpu
    return asked / min(given.case.nodes, given.case.environments)


def storms(given: Fleet) -> Iterator[tuple[str, Told]]:
    """All of what makes SDKs lose their streams."""
    for name, happens in STORMS.items():
        yield name, happens(given)


def news(given: Fleet) -> Iterator[tuple[str, Spread]]:
    """All of what SDKs are told."""
    for name, happens in NEWS.items():
        yield name, happens(given)
