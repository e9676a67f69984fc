"""The queue of target registrations in Redis."""

from collections.abc import Callable, Collection, Sequence
from typing import Final

from ff_proxy.model.keys import EnvironmentId
from ff_proxy.store.protocol import Registration
from ff_proxy.store.redis import queue_scripts
from ff_proxy.store.redis.connection import Connection
from ff_proxy.store.redis.errors import translated
from ff_proxy.store.redis.keys import Keys, encoded
from ff_proxy.store.redis.replicated_set import ReplicatedSet
from ff_proxy.wire.stored import encode_target, fingerprint, read_row

_FINGERPRINT_DIGITS: Final = 32  # hexadecimal digits of a fingerprint
_LEASE_SECONDS: Final = 120
_REMEMBERED: Final = 50_000
# Every so many looks all environments are included, which finds what a member had taken that died.
_EVERYWHERE: Final = 30


class RedisRegistrations:
    """About ``budget`` bytes per environment, queued or in flight.

    Args:
        leads: whether this member leads an environment, and so may take its registrations.
    """

    def __init__(
        self, connection: Connection, keys: Keys, budget: int, leads: Callable[[EnvironmentId], bool]
    ) -> None:
        self._connection = connection
        self._keys = keys
        self._queues = ReplicatedSet(connection, keys.queues)
        self._registering = ReplicatedSet(connection, keys.registering)
        self._budget = budget
        self._leads = leads
        self._looks = 0

    async def add(self, registration: Registration) -> bool:
        """See ``Registrations``."""
        digest = fingerprint(registration.target).hex()
        environment = registration.environment
        added = await self._connection.run(
            queue_scripts.ADD_REGISTRATION,
            self._keys.registrations(environment),
            [
                encoded(registration.target.identifier),
                digest.encode() + encode_target(registration.target),
                digest,
                self._budget,
            ],
        )
        # Last: a reader removes the environment from the set before it looks.
        await self._queues.add(environment)
        await self._registering.add(environment)
        return bool(added)

    async def waiting(self) -> Collection[EnvironmentId]:
        """See ``Registrations``."""
        everywhere = self._looks % _EVERYWHERE == 0
        self._looks += 1
        names = await (self._queues if everywhere else self._registering).environments()
        return [name for name in names if self._leads(name)]

    async def take(self, environment: EnvironmentId, limit: int) -> Sequence[Registration]:
        """See ``Registrations``."""
        if not self._leads(environment):
            return []
        order, waiting, taken, _ = self._keys.registrations(environment)
        await self._registering.remove(environment)
        *entries, left = await self._connection.run(
            queue_scripts.TAKE_REGISTRATIONS, [order, waiting, taken], [limit, _LEASE_SECONDS]
        )
        if left:
            await self._registering.add(environment)
        with translated():
            found = [read_row(entry[_FINGERPRINT_DIGITS:]) for entry in entries]
        # An unreadable one returns to the queue when its lease expires, and delays no other.
        return [Registration(environment, row.target) for row in found if row is not None]

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
