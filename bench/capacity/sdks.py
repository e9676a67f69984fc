"""How SDKs come back after their stream has ended, as their sources have it (sdk-contract §1.5, §3.5)."""

import math
from dataclasses import dataclass
from enum import Enum
from random import Random


class Step(Enum):
    """A request that an SDK makes on its way."""

    POLL = "poll"
    """Flags and target groups, all of them: what server SDKs read."""
    EVALUATIONS = "evaluations"
    """Every flag's evaluation for one target: what client SDKs read."""
    AUTH = "auth"
    OPEN = "open"
    """The stream."""
    CONNECT = "connect"
    """The connection for the first of the others, after the old one was lost as well."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Seconds before an attempt: between ``low`` and ``high`` for the first, then growing, up to ``most``.

    They grow with the number of the attempt, or by ``factor`` from one to the next if that is given.
    """

    low: float
    high: float
    most: float = math.inf
    factor: float = 0.0

    def draw(self, chance: Random, attempt: int) -> float:
        """Seconds before the attempt of that number, from 1."""
        times = min(self.factor ** (attempt - 1), 1e6) if self.factor else attempt
        return min(self.most, chance.uniform(self.low, self.high) * times)


def always(low: float, high: float | None = None) -> Wait:
    """The same before every attempt."""
    return Wait(low, low if high is None else high, factor=1.0)


@dataclass(frozen=True, slots=True)
class Sdk:
    """One kind of SDK.

    Attributes:
        name: as the contract has it.
        client: reads evaluations of its one target; otherwise definitions of flags.
        ended: before the first attempt, after a stream that ended or broke.
        refused: before the next attempt, after one that was refused or took too long.
        lost: what it reads at once when its stream is gone.
        back: what it asks for in order to come back, in this order.
        opened: what it reads when its stream is open again.
        failed: what it reads after an attempt that was refused or took too long.
        patience: seconds that it waits for an answer.
        silence: seconds without a byte after which it takes a stream for dead.
        sockets: connections for one stream.
        browser: asks whether it may ask, before it asks something for the first time (a preflight).
        reopens: whether it comes back to streaming at all.
    """

    name: str
    client: bool
    ended: Wait
    refused: Wait
    lost: tuple[Step, ...] = ()
    back: tuple[Step, ...] = (Step.OPEN,)
    opened: tuple[Step, ...] = ()
    failed: tuple[Step, ...] = ()
    patience: float = 30.0
    silence: float = 60.0
    sockets: int = 1
    browser: bool = False
    reopens: bool = True


PYTHON = Sdk(
    "Python",
    client=False,
    ended=always(3),
    refused=Wait(5, 5, factor=2),
    failed=(Step.POLL,),
    patience=60,
)
# Its backoff library spreads by half, and grows by half.
GO = Sdk(
    "Go",
    client=False,
    ended=Wait(0.5, 1.5, 60, factor=1.5),
    refused=Wait(0.5, 1.5, 60, factor=1.5),
    silence=30,
)
NODE = Sdk(
    "Node", client=False, ended=Wait(5, 10, 60), refused=Wait(5, 10, 60), lost=(Step.POLL,), silence=30
)
JAVA = Sdk(
    "Java",
    client=False,
    ended=always(0),
    refused=Wait(5, 10, 60),
    lost=(Step.POLL,),
    opened=(Step.POLL,),
)
NET = Sdk(
    ".NET",
    client=False,
    ended=always(0),
    refused=Wait(0.4, 0.8, 5, factor=2),
    lost=(Step.POLL,),
    failed=(Step.POLL,),
    patience=10,
    silence=35,
    sockets=2,
)
RUBY = Sdk("Ruby", client=False, ended=always(0), refused=always(0), back=(), reopens=False)
JAVASCRIPT = Sdk(
    "JavaScript",
    client=True,
    ended=always(1, 30),
    refused=always(1, 30),
    silence=30,
    browser=True,
)
ANDROID = Sdk(
    "Android",
    client=True,
    ended=always(60),
    refused=Wait(2, 5, 60),
    lost=(Step.EVALUATIONS,),
    back=(Step.AUTH, Step.EVALUATIONS, Step.EVALUATIONS, Step.OPEN),
    opened=(Step.EVALUATIONS,),
    patience=10,
)
IOS = Sdk(
    "iOS",
    client=True,
    ended=always(60),
    refused=always(60),
    lost=(Step.EVALUATIONS,),
    opened=(Step.EVALUATIONS,),
    patience=60,
)

Mix = tuple[tuple[Sdk, float], ...]
"""Kinds of SDKs with their shares; the shares come to 1."""

SERVERS: Mix = ((PYTHON, 0.2), (GO, 0.2), (NODE, 0.2), (JAVA, 0.2), (NET, 0.2))
CLIENTS: Mix = ((JAVASCRIPT, 0.6), (ANDROID, 0.2), (IOS, 0.2))
ALL = (PYTHON, GO, NODE, JAVA, NET, RUBY, JAVASCRIPT, ANDROID, IOS)


def joined(server: float, client: float) -> Mix:
    """So many server SDKs and client SDKs, as a mix."""
    total = server + client
    shares = [(sdk, share * server / total) for sdk, share in SERVERS]
    shares += [(sdk, share * client / total) for sdk, share in CLIENTS]
    return tuple((sdk, share) for sdk, share in shares if share > 0)


BROWSERS = math.fsum(share for sdk, share in CLIENTS if sdk.browser)
"""The part of client SDKs that run in browsers."""


def average(mix: Mix, of: "Step") -> float:
    """How often an SDK makes that request for one stream that it lost and got back, on average."""
    return math.fsum(share * (sdk.lost + sdk.back + sdk.opened).count(of) for sdk, share in mix)
