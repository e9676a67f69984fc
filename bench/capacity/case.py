"""A case: a fleet's SDKs and what they do, and the resources of each member.

What SDKs ask when their stream has ended is what their sources say (spec/sdk-wire#timeouts,
spec/sdk-wire#reconnects).
"""

import math
from dataclasses import dataclass, replace

POLL_SECONDS = 60.0
"""Between two polls, and between two posts of usage, of one SDK.

See spec/sdk-wire#usage-body, spec/sdk-wire#reconnects.
"""


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


@dataclass(frozen=True, slots=True)
class Member:
    """One proxy: its cores, its memory in bytes, its limit of open files, its network in bytes per second.

    ``headroom`` is the share of cores and network that is meant to be used when nothing unusual happens.
    """

    cores: int = 1
    memory: float = 2e9
    files: int = 65_536
    network: float = 1e9 / 8
    headroom: float = 0.5


@dataclass(frozen=True, slots=True)
class Case:
    """A fleet to calculate.

    Attributes:
        polling: server SDKs that poll.
        server: server SDKs that stream, and fetch a flag when they are told of it.
        client: client SDKs that stream, and fetch one evaluation when they are told of its flag.
        environments: over which they are spread evenly.
        flags: in each environment.
        changes: of flags, a minute, in each environment.
        counts: in a post of usage.
        sending: seconds between two rounds of usage to Harness where little waits (``metric-post-duration``).
        session: minutes that a client SDK stays before another target takes its place; 0: it stays.
        tls: SDKs talk to the proxies through TLS.
        within: seconds in which a change is to have reached everyone.
        member: what each proxy has.
        nodes: of Redis; 1 for a single one, more for a Cluster.
    """

    polling: float = 0
    server: float = 0
    client: float = 0
    environments: int = 1
    flags: int = 100
    changes: float = 1.0
    counts: int = 10
    sending: float = 60.0
    session: float = 0.0
    tls: bool = False
    within: float = 5.0
    member: Member = Member()
    nodes: int = 1

    @property
    def sdks(self) -> float:
        """All SDKs."""
        return self.polling + self.server + self.client

    @property
    def streaming(self) -> float:
        """SDKs with streams."""
        return self.server + self.client

    @property
    def mix(self) -> Mix:
        """The kinds of SDKs among those with streams."""
        return joined(self.server, self.client) if self.streaming else SERVERS

    @property
    def streams(self) -> float:
        """Open streams: some SDKs keep two."""
        return self.streaming * math.fsum(share * sdk.sockets for sdk, share in self.mix)

    @property
    def connections(self) -> float:
        """Open connections: streams, and one for requests of each SDK."""
        return self.streams + self.sdks

    def times(self, factor: float) -> "Case":
        """This case with the SDKs multiplied."""
        return replace(
            self, polling=self.polling * factor, server=self.server * factor, client=self.client * factor
        )
