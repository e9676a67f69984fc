"""The fleet as pages and API show it: members and leaders."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Final

import msgspec

from ff_proxy.errors import StoreError
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.member import SeenMember
from ff_proxy.store.protocol import FleetMembers

_STORE_SECONDS: Final = 1.0


class MemberRow(msgspec.Struct, frozen=True, rename="camel"):
    """A member as it reported itself ``seen_seconds_ago``; ``leads`` are ids of environments."""

    id: str
    host: str
    address: str
    mode: str
    version: str
    started: float
    processes: int
    state: str
    seen_seconds_ago: float
    this_proxy: bool
    leads: tuple[str, ...]


class Leader(msgspec.Struct, frozen=True, rename="camel"):
    """The leader of an environment; no ``id``: there is none, no ``host``: it is not a listed member."""

    id: str = ""
    host: str = ""
    address: str = ""
    this_proxy: bool = False


class FleetView(msgspec.Struct, frozen=True, rename="camel"):
    """The members that share the store; ``trouble`` says why they are currently not known.

    Several ``versions`` mean that an upgrade is in progress. With ``different_secrets`` members refuse tokens
    of others.
    """

    members: tuple[MemberRow, ...] = ()
    versions: tuple[str, ...] = ()
    trouble: str = ""
    different_secrets: bool = False


class FleetNow(msgspec.Struct, frozen=True):
    """The current state of the fleet, from the store."""

    own: str
    members: Sequence[SeenMember] = ()
    leaders: Mapping[EnvironmentId, str] = {}
    trouble: str = ""

    def leader(self, environment: EnvironmentId) -> Leader | None:
        """The environment's leader; ``None`` if it is not known."""
        if self.trouble:
            return None
        name = self.leaders.get(environment, "")
        for one in self.members:
            if one.member.id == name:
                return Leader(name, one.member.host, one.member.address, name == self.own)
        return Leader(name, this_proxy=name == self.own)

    def view(self) -> FleetView:
        """All members, sorted by host."""
        leads: dict[str, list[str]] = {}
        for environment, name in sorted(self.leaders.items()):
            leads.setdefault(name, []).append(environment)
        members = [msgspec.structs.asdict(one.member) for one in self.members]
        secrets = {member.pop("signs_with") for member in members} - {""}
        rows = [
            MemberRow(
                **member,
                seen_seconds_ago=round(one.age, 1),
                this_proxy=one.member.id == self.own,
                leads=tuple(leads.get(one.member.id, ())),
            )
            for member, one in zip(members, self.members, strict=True)
        ]
        rows.sort(key=lambda row: (row.host, row.address, row.id))
        versions = tuple(sorted({row.version for row in rows}))
        return FleetView(tuple(rows), versions, self.trouble, different_secrets=len(secrets) > 1)


async def look(fleet: FleetMembers, environments: Collection[EnvironmentId]) -> FleetNow:
    """Read the fleet from the store; a failure or timeout becomes ``trouble``."""
    try:
        async with asyncio.timeout(_STORE_SECONDS):
            members = await fleet.present()
            return FleetNow(fleet.own, members, await fleet.leaders(environments))
    except TimeoutError:
        return FleetNow(fleet.own, trouble="the store does not answer in time")
    except StoreError as error:
        return FleetNow(fleet.own, trouble=str(error))
