"""Simulation of a fleet in which nothing unusual happens: the same as ``demand``, one SDK after another."""

from dataclasses import dataclass
from random import Random

from bench.capacity import demand
from bench.capacity.case import POLL_SECONDS, Case
from bench.capacity.engine import Engine, Processor
from bench.capacity.units import Units
from bench.common.figures import percentile

_AGENTS = 1000
"""SDKs of each kind that are simulated one by one at most; beyond, each stands for several."""


@dataclass(frozen=True, slots=True)
class Load:
    """One member: CPU used, as a share of its cores, and the seconds that requests wait for their turn."""

    used: float
    half: float
    most: float


class _Member:
    """One member and its share of the SDKs of a case."""

    def __init__(self, case: Case, units: Units, members: float, chance: Random) -> None:
        self.engine = Engine()
        self.processor = Processor(float(case.member.cores))
        self.waits: list[float] = []
        self._case = case
        self._units = units
        self._chance = chance
        self._share = 1 / members

    def begin(self) -> None:
        """Plan everybody's first request."""
        case, units = self._case, self._units
        poll = units.poll.at(case.flags) + units.groups
        post = units.post + case.counts * units.count
        self._everyone(case.polling, POLL_SECONDS, poll)
        self._everyone(case.sdks, POLL_SECONDS, post)
        self._everyone(case.streams, demand.HEARTBEAT_SECONDS, units.heartbeat)
        if case.session:
            self._everyone(case.client, case.session * 60, demand.arrival(case, units))
        for _ in range(case.environments if case.changes else 0):
            self._change_within(0.0, 60 / case.changes)

    def _everyone(self, count: float, every: float, work: float) -> None:
        """``count`` SDKs of the fleet do something of so much work again and again, each in its rhythm."""
        own = count * self._share
        agents = min(_AGENTS, max(1, round(own))) if own else 0
        for _ in range(agents):
            self.engine.at(self._chance.uniform(0, every), self._does, every, work * own / agents)

    def _does(self, every: float, work: float) -> None:
        self._serve(work)
        self.engine.at(self.engine.now + every, self._does, every, work)

    def _change_within(self, begin: float, every: float) -> None:
        """One environment is changed at some moment of each such time: all of it are told, and fetch."""
        self.engine.at(begin + self._chance.uniform(0, every), self._changed)
        self.engine.at(begin + every, self._change_within, begin + every, every)

    def _changed(self) -> None:
        self._serve(demand.news_work(self._case, self._units) * self._share)

    def _serve(self, work: float) -> None:
        end = self.processor.serve(self.engine.now, work)
        self.waits.append(end - self.engine.now - work / self.processor.speed)


def steady(case: Case, units: Units, members: float, seconds: float = 600.0, seed: int = 20) -> Load:
    """One of ``members`` for so many seconds."""
    member = _Member(case, units, members, Random(seed))
    member.begin()
    member.engine.run(seconds)
    waits = member.waits or [0.0]
    return Load(
        used=member.processor.done / seconds / case.member.cores,
        half=percentile(waits, 0.5),
        most=percentile(waits, 0.99),
    )
