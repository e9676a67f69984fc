"""Simulation of changes on their way to everyone: Redis tells members, members tell streams, SDKs fetch."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum

from bench.capacity.demand import ROUND_TRIP
from bench.capacity.engine import Engine, Processor
from bench.common.figures import percentile

_SLICE = 100
"""Streams that are told before anybody else has a turn."""
_SLOT = 0.022
"""Seconds between two writes to the same stream."""
_CHECK = 0.05
"""Seconds that a fetch waits at most for Redis to say whether anything moved."""
_SHOWN = 800
"""Streams of a member that are simulated one by one; beyond, each stands for several."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Who takes part.

    Attributes:
        told: when each of the simulated members knows of the change, in seconds.
        stands_for: how many members each of them stands for.
        streams: of each.
        speed: free cores of each.
        event: seconds of CPU to tell one stream.
        fetch: seconds of CPU for what it fetches then.
        check: seconds of Redis' CPU for one question whether anything moved; 0 without Redis.
        lookup: seconds of Redis' CPU for the target of one fetch, on average.
    """

    told: Sequence[float]
    stands_for: float
    streams: float
    speed: float
    event: float
    fetch: float
    check: float = 0.0
    lookup: float = 0.0


@dataclass(frozen=True, slots=True)
class Spread:
    """Seconds until half, 99 % and all SDKs have every new value.

    ``peak`` and ``redis`` are the shares of members' and Redis' busiest second; ``fetched`` counts fetches of
    every stream of all members.
    """

    half: float
    most: float
    last: float
    peak: float
    redis: float
    fetched: float


def spread(stage: Stage, changes: int = 1) -> Spread:
    """What ``changes`` at the same moment, each of another flag, come to."""
    engine, redis = Engine(), Processor(1.0)
    members = [_Member(engine, stage, redis, changes) for _ in stage.told]
    for member, told in zip(members, stage.told, strict=True):
        engine.at(told, member.tell, 0, 0, told)
    engine.run(until=1e9)
    times = [time for member in members for time in member.times]
    return Spread(
        half=percentile(times, 0.5),
        most=percentile(times, 0.99),
        last=max(times),
        peak=max(member.processor.peak for member in members),
        redis=redis.peak,
        fetched=fsum(member.fetched for member in members) * stage.stands_for,
    )


class _Member:
    def __init__(self, engine: Engine, stage: Stage, redis: Processor, changes: int) -> None:
        self.processor = Processor(stage.speed)
        self.times: list[float] = []
        self.fetched = 0.0
        self._engine = engine
        self._stage = stage
        self._redis = redis
        self._changes = changes
        self._shown = max(1, min(_SHOWN, round(stage.streams)))
        self._weight = stage.streams / self._shown
        self._slice = max(1, round(_SLICE / self._weight))
        self._asking = 0.0
        self._answered = 0.0

    def tell(self, change: int, first: int, begun: float) -> None:
        """Tell a slice of the streams of that change; the rest comes after whoever waits by then."""
        count = min(self._slice, self._shown - first)
        end = self.processor.serve(self._engine.now, count * self._weight * self._stage.event)
        for _ in range(count):
            self._engine.at(end + self._checked(end), self._fetch, change)
        if first + count < self._shown:
            self._engine.at(end, self.tell, change, first + count, begun)
        elif change + 1 < self._changes:
            following = max(end, begun + _SLOT)
            self._engine.at(following, self.tell, change + 1, 0, following)

    def _checked(self, now: float) -> float:
        """Seconds that Redis takes; who comes before a question is asked shares the answer."""
        if not self._stage.check:
            return 0.0
        self._redis.serve(now, self._stage.lookup * self._weight * self._stage.stands_for)
        if now > self._asking:
            self._asking = max(now, self._answered)
            work = self._stage.check * self._stage.stands_for
            self._answered = self._redis.serve(self._asking, work) + ROUND_TRIP
        return min(_CHECK, self._answered - now)

    def _fetch(self, change: int) -> None:
        end = self.processor.serve(self._engine.now, self._weight * self._stage.fetch)
        self.fetched += self._weight
        if change + 1 == self._changes:
            self.times.append(end)
