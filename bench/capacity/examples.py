"""The example fleets of the page."""

from collections.abc import Mapping
from dataclasses import replace

from bench.capacity.case import Case, Member

SMALL = Member(cores=1, memory=2e9, files=65_536, network=1e9 / 8)
LARGE = Member(cores=4, memory=8e9, files=262_144, network=10e9 / 8)
MEMBERS: Mapping[str, Member] = {"small": SMALL, "large": LARGE}

_PER_ENVIRONMENT = 100_000
"""SDKs in an environment at most, in the examples."""
SESSION = 10.0

KINDS: Mapping[str, Case] = {
    "server SDKs that poll": Case(polling=1000),
    "server SDKs that stream": Case(server=1000),
    "client SDKs that stream": Case(client=1000, session=SESSION),
}
"""A thousand of each."""

SIZES = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)

STORMY: Mapping[str, Case] = {
    "100,000 server SDKs": Case(server=1e5, environments=1, member=SMALL),
    "1,000,000 SDKs, nine of ten of them clients": Case(
        server=1e5, client=9e5, session=SESSION, environments=10, member=SMALL, nodes=10
    ),
    "10,000,000 SDKs, nine of ten of them clients": Case(
        server=1e6, client=9e6, session=SESSION, environments=100, member=LARGE, nodes=100
    ),
}


def sized(kind: str, sdks: float, member: Member, changes: float = 1.0) -> Case:
    """That many SDKs of that kind, over a usual number of environments."""
    one = KINDS[kind]
    environments = max(1, round(sdks / _PER_ENVIRONMENT))
    return replace(
        one.times(sdks / one.sdks),
        environments=environments,
        member=member,
        changes=changes,
        nodes=environments,
    )
