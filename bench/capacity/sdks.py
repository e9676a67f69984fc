"""What SDKs ask when their stream has ended, according to their sources.

See spec/sdk-wire#timeouts, spec/sdk-wire#reconnects.
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sdk:
    """One kind of SDK; requests are those for one stream that it lost and got back.

    Attributes:
        name: as the contract has it.
        waits: the most seconds before its first attempt to open a stream again.
        polls: bulk reads of flags and target groups.
        evaluations: reads of every evaluation for its target.
        authentications: of its target.
        sockets: connections for one stream.
        browser: asks whether it may ask, before it asks something for the first time (a preflight).
    """

    name: str
    waits: float
    polls: int = 0
    evaluations: int = 0
    authentications: int = 0
    sockets: int = 1
    browser: bool = False

    @property
    def asks(self) -> bool:
        """Whether it needs another connection than that of its stream."""
        return self.polls + self.evaluations + self.authentications > 0


PYTHON = Sdk("Python", waits=3)
GO = Sdk("Go", waits=1.5)
NODE = Sdk("Node", waits=10, polls=1)
JAVA = Sdk("Java", waits=0, polls=2)
NET = Sdk(".NET", waits=0, polls=1, sockets=2)
JAVASCRIPT = Sdk("JavaScript", waits=30, browser=True)
ANDROID = Sdk("Android", waits=60, evaluations=4, authentications=1)
IOS = Sdk("iOS", waits=60, evaluations=2)

Mix = tuple[tuple[Sdk, float], ...]
"""Kinds of SDKs with their shares; the shares add up to 1."""

SERVERS: Mix = ((PYTHON, 0.2), (GO, 0.2), (NODE, 0.2), (JAVA, 0.2), (NET, 0.2))
CLIENTS: Mix = ((JAVASCRIPT, 0.6), (ANDROID, 0.2), (IOS, 0.2))


def joined(server: float, client: float) -> Mix:
    """A mix of that many server SDKs and client SDKs."""
    total = server + client
    shares = [(sdk, share * server / total) for sdk, share in SERVERS]
    shares += [(sdk, share * client / total) for sdk, share in CLIENTS]
    return tuple((sdk, share) for sdk, share in shares if share > 0)


BROWSERS = math.fsum(share for sdk, share in CLIENTS if sdk.browser)
"""The part of client SDKs that run in browsers."""
