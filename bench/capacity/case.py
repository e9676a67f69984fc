"""A case: a fleet's SDKs and what they do, and the resources of each member."""

from dataclasses import dataclass, replace
from math import fsum

from bench.capacity.sdks import SERVERS, Mix, joined

POLL_SECONDS = 60.0
"""Between two polls, and between two posts of usage, of one SDK.

See spec/sdk-wire#usage-body, spec/sdk-wire#reconnects.
"""


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
    """A fleet to be calculated.

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
        """All of them."""
        return self.polling + self.server + self.client

    @property
    def streaming(self) -> float:
        """Those with streams."""
        return self.server + self.client

    @property
    def mix(self) -> Mix:
        """The kinds of SDKs among those with streams."""
        return joined(self.server, self.client) if self.streaming else SERVERS

    @property
    def streams(self) -> float:
        """Open streams: some SDKs keep two."""
        return (
            self.streaming * fsum(share * sdk.sockets for sdk, share in self.mix) if self.streaming else 0.0
        )

    @property
    def connections(self) -> float:
        """Open connections: streams, and one for requests of each SDK."""
        return self.streams + self.sdks

    def times(self, factor: float) -> "Case":
        """The same with a multiple of the SDKs."""
        return replace(
            self, polling=self.polling * factor, server=self.server * factor, client=self.client * factor
        )
