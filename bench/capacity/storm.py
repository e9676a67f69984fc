"""Simulation of SDKs that lose their streams and come back: when, who waits, and what is asked of members."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import fsum
from random import Random

from bench.capacity.demand import HEARTBEAT_SECONDS
from bench.capacity.engine import Engine, Processor
from bench.capacity.sdks import Mix, Sdk, Step, always
from bench.common.figures import percentile

Costs = Mapping[Step, float]
"""Seconds of a member's CPU for each request; a stream's with its connection."""

AGENTS = 3000
"""SDKs that are simulated one by one at most; beyond, each stands for several."""
_NOW = always(0)
_SECOND = always(1)


class Proxy:
    """A member: ``speed`` are its free cores; it takes ``room`` streams, and only while it is ``up``."""

    def __init__(self, speed: float, room: float) -> None:
        self.processor = Processor(speed)
        self.room = room
        self.up = True
        self.streams = 0.0
        self.agents: dict[Agent, None] = {}


class Agent:
    """An SDK, or several alike that do the same at the same time; ``weight`` says how many."""

    __slots__ = ("attempt", "connected", "lost_at", "member", "sdk", "weight")

    def __init__(self, sdk: Sdk, weight: float) -> None:
        self.sdk = sdk
        self.weight = weight
        self.member: Proxy | None = None
        self.attempt = 0
        self.connected = True
        self.lost_at = 0.0


@dataclass(frozen=True, slots=True)
class Told:
    """What a storm came to.

    Attributes:
        sdks: how many lost their stream; those that never stream again are not among them.
        back: how many are connected at the end.
        half, most, last: seconds without a stream, of half of the losses, of 99 %, and at most.
        queue: the longest that any request waited for its turn, in seconds.
        peak: CPU in the busiest second of any member, as a share of what was free.
        refused: attempts that found no member, or one that was full.
        given_up: attempts that took the SDK too long.
        uneven: streams of the fullest member, as a multiple of the average.
        losses: how often an SDK lost its stream, on average.
        asked: how often each request was made.
    """

    sdks: float
    back: float
    half: float
    most: float
    last: float
    queue: float
    peak: float
    refused: float
    given_up: float
    uneven: float
    losses: float
    asked: Mapping[Step, float]


class Storm:
    """SDKs and members; what happens to them is planned from outside, then ``run``.

    A balancer gives each connection to the next member in turn that is up, or to the one of those that has
    the fewest streams.

    Args:
        costs: of requests.
        members: all of them.
        chance: draws every wait.
        jitter: false: SDKs come back at once, and a second after a refusal, all alike.
        fewest: how the balancer chooses.
    """

    def __init__(
        self,
        costs: Costs,
        members: Sequence[Proxy],
        chance: Random,
        *,
        jitter: bool = True,
        fewest: bool = False,
    ) -> None:
        self.engine = Engine()
        self.members = members
        self._costs = costs
        self._chance = chance
        self._jitter = jitter
        self._fewest = fewest
        self._turn = 0
        self._agents: list[Agent] = []
        self._waits: list[float] = []
        self._lost = 0.0
        self._refused = 0.0
        self._given_up = 0.0
        self._asked = dict.fromkeys(Step, 0.0)

    def settle(self, agents: Sequence[Agent], members: Sequence[Proxy]) -> None:
        """Connect ``agents`` to ``members`` before it begins, evenly."""
        for place, agent in enumerate(agents):
            self._agents.append(agent)
            self._join(agent, members[place % len(members)])

    def end_all(self, member: Proxy, seconds: float) -> None:
        """Its streams end, one by one over ``seconds``; it takes no more."""
        member.up = False
        agents = list(member.agents)
        self._chance.shuffle(agents)
        for place, agent in enumerate(agents):
            end = self.engine.now + seconds * place / len(agents)
            self.engine.at(end, self._lose, agent, member, end)

    def silence(self, member: Proxy) -> None:
        """Its machine is gone without a word: SDKs notice that nothing comes."""
        member.up = False
        for agent in list(member.agents):
            # Some time has passed since its last heartbeat.
            noticed = self.engine.now + agent.sdk.silence - self._chance.uniform(0, HEARTBEAT_SECONDS)
            self.engine.at(noticed, self._lose, agent, member, self.engine.now)

    def begin(self, member: Proxy) -> None:
        """It takes connections from now on."""
        member.up = True

    def run(self, until: float = 3600.0) -> Told:
        """What it comes to when all are back, or after ``until`` seconds."""
        self.engine.run(until)
        waits = self._waits or [0.0]
        total = fsum(agent.weight for agent in self._agents if agent.sdk.reopens)
        streams = [member.streams for member in self.members]
        return Told(
            sdks=total,
            back=fsum(a.weight for a in self._agents if a.member is not None and a.sdk.reopens),
            half=percentile(waits, 0.5),
            most=percentile(waits, 0.99),
            last=max(waits),
            queue=max(member.processor.longest for member in self.members),
            peak=max(member.processor.peak for member in self.members),
            refused=self._refused,
            given_up=self._given_up,
            uneven=max(streams) / (fsum(streams) / len(streams)) if any(streams) else 1.0,
            losses=self._lost / total if total else 0.0,
            asked=dict(self._asked),
        )

    def _join(self, agent: Agent, member: Proxy) -> None:
        agent.member = member
        agent.attempt = 0
        member.agents[agent] = None
        member.streams += agent.weight * agent.sdk.sockets

    def _lose(self, agent: Agent, member: Proxy, since: float) -> None:
        """The stream of ``agent`` to ``member`` ends; nothing has come on it ``since``."""
        del member.agents[agent]
        member.streams -= agent.weight * agent.sdk.sockets
        agent.member = None
        agent.connected = False
        agent.lost_at = since
        self._besides(agent, agent.sdk.lost)
        if agent.sdk.reopens:
            self._lost += agent.weight
            wait = agent.sdk.ended if self._jitter else _NOW
            self.engine.at(self.engine.now + wait.draw(self._chance, 1), self._ask, agent, 0)

    def _ask(self, agent: Agent, place: int) -> None:
        """The request at that place of its way back."""
        step = agent.sdk.back[place]
        member = self._next_member()
        if member is None or (step is Step.OPEN and member.streams >= member.room):
            self._refused += agent.weight
            self._try_again(agent)
            return
        end = member.processor.serve(self.engine.now, self._cost(agent, step))
        if end - self.engine.now > agent.sdk.patience:
            # What it does not wait for is done all the same.
            self._given_up += agent.weight
            self.engine.at(self.engine.now + agent.sdk.patience, self._try_again, agent)
        else:
            self.engine.at(end, self._answered, agent, place, member)

    def _answered(self, agent: Agent, place: int, member: Proxy) -> None:
        if not member.up:
            self._try_again(agent)
        elif place + 1 < len(agent.sdk.back):
            self._ask(agent, place + 1)
        else:
            self._join(agent, member)
            self._waits.append(self.engine.now - agent.lost_at)
            self._besides(agent, agent.sdk.opened)

    def _try_again(self, agent: Agent) -> None:
        agent.attempt += 1
        self._besides(agent, agent.sdk.failed)
        wait = agent.sdk.refused if self._jitter else _SECOND
        self.engine.at(self.engine.now + wait.draw(self._chance, agent.attempt), self._ask, agent, 0)

    def _besides(self, agent: Agent, steps: Sequence[Step]) -> None:
        """Requests that its coming back does not wait for."""
        for step in steps:
            member = self._next_member()
            if member is not None:
                member.processor.serve(self.engine.now, self._cost(agent, step))

    def _cost(self, agent: Agent, step: Step) -> float:
        times = agent.weight * (agent.sdk.sockets if step is Step.OPEN else 1)
        self._asked[step] += times
        if step is Step.OPEN or agent.connected:
            return self._costs[step] * times
        agent.connected = True
        return (self._costs[step] + self._costs[Step.CONNECT]) * times

    def _next_member(self) -> Proxy | None:
        if self._fewest:
            up = [member for member in self.members if member.up]
            return min(up, key=lambda member: member.streams, default=None)
        for _ in range(len(self.members)):
            self._turn = (self._turn + 1) % len(self.members)
            if self.members[self._turn].up:
                return self.members[self._turn]
        return None


def crowd(mix: Mix, count: float, chance: Random, most: int = AGENTS) -> list[Agent]:
    """``count`` SDKs of the kinds of ``mix``, in no order; at most about ``most`` agents stand for them."""
    shown = max(1, min(most, round(count)))
    agents = []
    for sdk, share in mix:
        number = max(1, round(shown * share))
        agents += [Agent(sdk, count * share / number) for _ in range(number)]
    chance.shuffle(agents)
    return agents
