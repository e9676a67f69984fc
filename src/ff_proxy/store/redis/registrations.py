"""The queue of target registrations in Redis."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from ff_proxy.errors import StoreUnavailable
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.store.protocol import Registration
from ff_proxy.store.redis import queue_scripts
from ff_proxy.store.redis.connection import Connection
from ff_proxy.store.redis.errors import translated
from ff_proxy.store.redis.keys import Keys, encoded
from ff_proxy.store.redis.shared_set import SharedSet
from ff_proxy.wire.stored import encode_target, fingerprint, read_row

_MARK: Final = 32  # hexadecimal digits of a fingerprint
_COMEBACK: Final = 120
_REMEMBERED: Final = 50_000
# Additions of other members are found by polling; registrations are not urgent.
_LOOK_SECONDS: Final = 1.0
# Once in so many looks every environment is looked at, whatever the set of those with something waiting says:
# that finds what a member had taken that died.
_EVERYWHERE: Final = 30


class RedisRegistrations:
    """About ``budget`` bytes per environment, queued or in flight.

    Args:
        leads: whose registrations this process may take: who leads an environment has a key of it.
    """

    def __init__(
        self, connection: Connection, keys: Keys, budget: int, leads: Callable[[EnvironmentId], bool]
    ) -> None:
        self._connection = connection
        self._keys = keys
        self._queues = SharedSet(connection, keys.queues)
        self._registering = SharedSet(connection, keys.registering)
        self._budget = budget
        self._leads = leads
        self._added = asyncio.Event()
        self._looks = 0

    async def add(self, registration: Registration) -> bool:
        """See ``Registrations``."""
        mark = fingerprint(registration.target).hex()
        environment = registration.environment
        added = await self._connection.run(
            queue_scripts.ADD_REGISTRATION,
            self._keys.registrations(environment),
            [
                encoded(registration.target.identifier),
                mark.encode() + encode_target(registration.target),
                mark,
                self._budget,
            ],
        )
        # Only after it is there: a reader that finds nothing takes the environment out of the set first.
        await self._queues.add(environment)
        await self._registering.add(environment)
        self._added.set()
        return bool(added)

    async def take(self, limit: int) -> Sequence[Registration]:
        """See ``Registrations``."""
        while True:
            self._added.clear()
            found: list[Registration] = []
            for environment in await self._candidates():
                # Each environment on a node of a Cluster that is away would hold up those on others.
                away = self._connection.is_doubted(self._keys.registrations(environment)[0])
                if len(found) < limit and self._leads(environment) and not away:
                    with suppress(StoreUnavailable):
                        found += await self._take_of(environment, limit - len(found))
            if found:
                return found
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS):
                    await self._added.wait()

    async def complete(self, registration: Registration, *, delivered: bool) -> None:
        """See ``Registrations``."""
        await self._settle(registration, "sent" if delivered else "again")

    async def discard(self, registration: Registration) -> None:
        """See ``Registrations``."""
        await self._settle(registration, "forget")

    async def _settle(self, registration: Registration, what: str) -> None:
        await self._connection.run(
            queue_scripts.SETTLE_REGISTRATION,
            self._keys.registrations(registration.environment),
            [
                encoded(registration.target.identifier),
                fingerprint(registration.target).hex(),
                what,
                _REMEMBERED,
            ],
        )

    async def _candidates(self) -> list[EnvironmentId]:
        everywhere = self._looks % _EVERYWHERE == 0
        self._looks += 1
        return await (self._queues if everywhere else self._registering).environments()

    async def _take_of(self, environment: EnvironmentId, limit: int) -> list[Registration]:
        order, waiting, taken, _ = self._keys.registrations(environment)
        await self._registering.remove(environment)
        *entries, left = await self._connection.run(
            queue_scripts.TAKE_REGISTRATIONS, [order, waiting, taken], [limit, _COMEBACK]
        )
        if left:
            await self._registering.add(environment)
        with translated():
            found = [read_row(entry[_MARK:]) for entry in entries]
        # An unreadable one returns to the queue and is skipped again, without delaying the others.
        return [Registration(environment, row.target) for row in found if row is not None]
