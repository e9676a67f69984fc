"""Leader election: work that exactly one member of the fleet does at a time (spec/behaviour#lease)."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from ff_proxy.aio.waits import sleep_unless
from ff_proxy.errors import StoreUnavailable
from ff_proxy.model.clock import Clock
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.store.redis.fleet_bus import FleetBus
from ff_proxy.store.redis.leases import SECONDS, Leases
from ff_proxy.store.redis.standalone import StandaloneConfigs
from ff_proxy.telemetry import Telemetry

_RENEW_SECONDS: Final = SECONDS / 3
_RETRY_SECONDS: Final = 1.0
# After this long without a confirmation, another member may soon hold the lease.
_UNCONFIRMED_SECONDS: Final = SECONDS * 0.75
# Redis expires a lease a moment late.
_EXPIRY_SLACK: Final = 0.05
_RELEASE_SECONDS: Final = 1.0
# A waiting member acquires a released lease within this time.
_YIELD_SECONDS: Final = 3.0


class LeaderElection:
    """``Leadership``: waits for an environment's lease, works while it holds it, and waits again."""

    contested: bool = True

    def __init__(
        self, leases: Leases, configs: StandaloneConfigs, bus: FleetBus, clock: Clock, telemetry: Telemetry
    ) -> None:
        self.leads = leases.leads
        self.forward_key = bus.forward_key
        self._leases = leases
        self._configs = configs
        self._answered: set[EnvironmentId] = set()
        self._clock = clock
        self._notices = telemetry.notices("fleet")
        self._once = telemetry.once("fleet")
        self._free: dict[EnvironmentId, asyncio.Event] = {}

    def freed(self, environment: EnvironmentId) -> None:
        """The environment's lease was released: try to acquire it at once."""
        free = self._free.get(environment)
        if free is not None:
            free.set()

    async def lead(
        self,
        environment: EnvironmentId,
        work: Callable[[], Awaitable[None]],
        is_unreachable: Callable[[], bool],
    ) -> None:
        """Run ``work`` for ever, but only while this member holds the environment's lease.

        ``work`` is cancelled when the lease is lost, and restarted when it had to be acquired again, since
        what it knows may be old. When this call is cancelled, or the work ``is_unreachable`` from here, the
        lease is released, so that another member takes over at once.
        """
        try:
            while True:
                await self._until_taken(environment, work)
                self._notices.info("leading", environment)
                async with asyncio.TaskGroup() as group:
                    working = group.create_task(_forever(work))
                    again = await self._until_lost(environment, is_unreachable)
                    working.cancel()
                if again:
                    continue
                self._notices.warning("no longer leading", environment)
                if self._leases.fence(environment) is not None:
                    await self._release(environment)
                    await self._clock.sleep(_YIELD_SECONDS)
        finally:
            await self._release(environment)

    async def leave(self, environment: EnvironmentId) -> None:
        """Stop following the environment: forget what this member keeps of it without Redis."""
        self._configs.leave(environment)

    async def _release(self, environment: EnvironmentId) -> None:
        with suppress(StoreUnavailable, TimeoutError):
            async with asyncio.timeout(_RELEASE_SECONDS):
                await self._leases.release(environment)

    async def _until_taken(self, environment: EnvironmentId, work: Callable[[], Awaitable[None]]) -> None:
        """Wait for the lease; until Redis first answers for it, work without."""
        free = self._free.setdefault(environment, asyncio.Event())
        alone: asyncio.Task[None] | None = None
        async with asyncio.TaskGroup() as group:
            while True:
                free.clear()
                pause = _RETRY_SECONDS
                try:
                    taken = await self._leases.acquire(environment)
                    if alone is not None:
                        alone.cancel()
                        await asyncio.wait([alone])
                        alone = None
                    if environment not in self._answered:
                        await self._configs.join(environment, leads=taken)
                        self._answered.add(environment)
                except StoreUnavailable as error:
                    self._once.trouble("lease not taken", error)
                    if alone is None and environment not in self._answered:
                        self._configs.stand_alone(environment)
                        self._once.warning("following Harness without the store until it answers")
                        alone = group.create_task(_forever(work))
                else:
                    if taken:
                        return
                    pause = self._leases.seconds_left(environment) + _EXPIRY_SLACK
                await sleep_unless(free, self._clock, pause)

    async def _until_lost(self, environment: EnvironmentId, is_unreachable: Callable[[], bool]) -> bool:
        """Renew the lease until it is lost; ``True`` if it is held, but had to be acquired again."""
        term = self._leases.fence(environment)
        confirmed = self._clock.monotonic()
        pause = _RENEW_SECONDS
        while True:
            await self._clock.sleep(pause)
            try:
                # From before the call: the lease runs from when Redis receives it.
                asked = self._clock.monotonic()
                if not await self._leases.acquire(environment):
                    return False
                confirmed, pause = asked, _RENEW_SECONDS
                if self._leases.fence(environment) != term:
                    self._notices.warning("lease lost and taken anew, beginning anew", environment)
                    return True
                if is_unreachable():
                    self._notices.warning("out of touch with Harness, others may try", environment)
                    return False
            except StoreUnavailable as error:
                self._once.trouble("lease not renewed", error)
                if self._clock.monotonic() - confirmed > _UNCONFIRMED_SECONDS:
                    self._leases.forget(environment)
                    return False
                pause = _RETRY_SECONDS


async def _forever(work: Callable[[], Awaitable[None]]) -> None:
    await work()
