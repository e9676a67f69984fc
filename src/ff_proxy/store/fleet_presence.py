"""Announces this member and its state to the other members of the fleet."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import msgspec

from ff_proxy.aio.waits import sleep_unless
from ff_proxy.errors import StoreError
from ff_proxy.model.clock import Clock
from ff_proxy.model.member import FleetMember
from ff_proxy.model.readiness import Readiness
from ff_proxy.store.protocol import FleetMembers
from ff_proxy.telemetry import Telemetry

LISTED_SECONDS: Final = 10.0
"""How long a member stays listed without listing itself again."""

EVERY_SECONDS: Final = 2.0
_DIFFERENT: Final = "members sign tokens with different secrets: set the same auth-secret on all"

# Secrets are compared after so many listings, and more rarely in a large fleet: its members together read the
# list, which has an entry of each, about once a second.
_COMPARED_EVERY: Final = 5
_FAREWELL_SECONDS: Final = 0.4
_STOPPING: Final = "stopping"


class FleetPresence:
    """The service that lists this member every ``EVERY_SECONDS``, and removes it at the end.

    Now and then it makes sure that all members sign tokens with the same secret.

    Args:
        members: the list; a failure costs only this member's entry.
        member: the facts about it that do not change.
        readiness: its state.
        clock: time.
        telemetry: reports failures once.
    """

    name = "fleet presence"

    def __init__(
        self,
        members: FleetMembers,
        member: FleetMember,
        readiness: Callable[[], Readiness],
        clock: Clock,
        telemetry: Telemetry,
    ) -> None:
        self.ready = asyncio.Event()
        self._members = members
        self._member = member
        self._readiness = readiness
        self._clock = clock
        self._once = telemetry.once("fleet")
        self._stopping = asyncio.Event()
        self._until_comparison = 0

    async def run(self) -> None:
        """List it until cancelled."""
        try:
            while True:
                stopping = self._stopping.is_set()
                await self._list(_STOPPING if stopping else self._readiness().state)
                self.ready.set()
                if stopping:
                    await self._clock.sleep(EVERY_SECONDS)
                else:
                    await sleep_unless(self._stopping, self._clock, EVERY_SECONDS)
        finally:
            with suppress(StoreError, TimeoutError):
                async with asyncio.timeout(_FAREWELL_SECONDS):
                    await self._members.take_out()

    async def leave(self, _: float) -> None:
        """The process is stopping: announce that at once, without waiting for an answer."""
        self._stopping.set()

    async def _list(self, state: str) -> None:
        try:
            listed = await self._members.put(msgspec.structs.replace(self._member, state=state))
        except StoreError as error:
            self._once.trouble("this member is not listed in the fleet", error)
            return
        if not listed:
            self._once.warning("the list of members is full, this one is not in it")
        if self._until_comparison == 0:
            await self._compare_secrets()
        self._until_comparison -= 1

    async def _compare_secrets(self) -> None:
        self._until_comparison = _COMPARED_EVERY
        with suppress(StoreError):
            members = [seen.member for seen in await self._members.present()]
            self._until_comparison = max(_COMPARED_EVERY, round(len(members) / EVERY_SECONDS))
            different = [one for one in members if one.signs_with not in {"", self._member.signs_with}]
            if different:
                self._once.warning(_DIFFERENT, others=sorted({one.host for one in different}))
