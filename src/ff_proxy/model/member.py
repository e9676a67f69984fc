"""A member of a fleet, as the others see it."""

import msgspec


class FleetMember(msgspec.Struct, frozen=True):
    """What a proxy tells the other members about itself; fields that its version does not know are empty.

    ``id`` is the name under which it takes leases. ``started`` is in seconds since the epoch.
    """

    id: str
    host: str = ""
    address: str = ""
    mode: str = ""
    version: str = ""
    started: float = 0.0
    processes: int = 1
    state: str = ""


class SeenMember(msgspec.Struct, frozen=True):
    """A member that was heard of ``age`` seconds ago, by the clock of the store."""

    member: FleetMember
    age: float
