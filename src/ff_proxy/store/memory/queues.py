"""The queues to Harness in memory: usage and target registrations."""

from collections.abc import Collection, Mapping, Sequence
from itertools import islice
from typing import Final

from ff_proxy.bounded import BoundedMap, entry_cost
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.memory import LEAST_SHARES
from ff_proxy.model.usage import UsageCount, UsageTarget
from ff_proxy.store.protocol import Registration, UsageLease
from ff_proxy.store.usage_buffer import UsageBuffer
from ff_proxy.wire.stored import fingerprint

# The part of the registrations' budget for fingerprints of sent ones.
_SENT_PART: Final = 4


class MemoryUsageQueue:
    """A ``UsageBuffer`` as a store's queue."""

    def __init__(self, budget: int = LEAST_SHARES.usage_queue) -> None:
        self._buffer = UsageBuffer(budget)

    async def merge(
        self, counts: Sequence[UsageCount], targets: Sequence[UsageTarget], *, name: str = ""
    ) -> int:
        """See ``UsageQueue``."""
        del name
        return len(counts) + len(targets) - len(self._buffer.add(counts, targets))

    async def pending(self) -> Mapping[EnvironmentId, int]:
        """See ``UsageQueue``."""
        return self._buffer.pending()

    async def take(self, environment: EnvironmentId, limit: int) -> UsageLease | None:
        """See ``UsageQueue``."""
        return self._buffer.take(environment, limit)

    async def settle(
        self, lease: UsageLease, counts: Sequence[UsageCount] = (), targets: Sequence[UsageTarget] = ()
    ) -> None:
        """See ``UsageQueue``."""
        self._buffer.settle(lease, counts, targets)


class MemoryRegistrations:
    """Queued targets, oldest first, and fingerprints of sent ones; together about ``budget`` bytes."""

    def __init__(self, budget: int = LEAST_SHARES.registrations) -> None:
        self._budget = budget - budget // _SENT_PART
        self._spent = 0
        self._waiting: dict[EnvironmentId, dict[str, Registration]] = {}
        self._taken: dict[_Name, tuple[Registration, bytes]] = {}
        self._sent: BoundedMap[_Name, bytes] = BoundedMap(budget // _SENT_PART)

    async def add(self, registration: Registration) -> bool:
        """See ``Registrations``; a newer target replaces the queued one."""
        name = _name(registration)
        queued = self._of(registration).get(registration.target.identifier)
        if queued is None:
            taken = self._taken.get(name)
            if fingerprint(registration.target) == (taken[1] if taken else self._sent.get(name)):
                return True
        size = _cost(registration) - (0 if queued is None else _cost(queued))
        if self._spent + size > self._budget:
            return False
        self._queue(registration, size)
        return True

    async def waiting(self) -> Collection[EnvironmentId]:
        """See ``Registrations``."""
        return list(self._waiting)

    async def take(self, environment: EnvironmentId, limit: int) -> Sequence[Registration]:
        """See ``Registrations``; a target is not taken while an older version is in flight."""
        waiting = self._waiting.get(environment, {})
        free = list(islice((name for name in waiting if (environment, name) not in self._taken), limit))
        batch = [waiting.pop(name) for name in free]
        if not waiting:
            self._waiting.pop(environment, None)
        self._taken.update({_name(taken): (taken, fingerprint(taken.target)) for taken in batch})
        return batch

    async def complete(self, registration: Registration, *, delivered: bool) -> None:
        """See ``Registrations``; ignores a completed one."""
        sent = self._settle(registration)
        if sent is not None and delivered:
            self._sent.put(_name(registration), sent)
        elif sent is not None and registration.target.identifier not in self._of(registration):
            self._queue(registration, _cost(registration))

    async def discard(self, registration: Registration) -> None:
        """See ``Registrations``; ignores a completed one."""
        self._settle(registration)

    def _settle(self, registration: Registration) -> bytes | None:
        """The fingerprint of a registration, which is not in flight any more; ``None`` if it was not."""
        taken = self._taken.pop(_name(registration), None)
        if taken is None:
            return None
        self._spent -= _cost(taken[0])
        return taken[1]

    def is_waiting(self, registration: Registration) -> bool:
        """Whether this registration is queued and not taken."""
        return self._of(registration).get(registration.target.identifier) is registration

    def outstanding(self) -> list[Registration]:
        """Every registration that is queued or in flight, the newest of each target last."""
        taken = [taken for taken, _ in self._taken.values()]
        return taken + [one for waiting in self._waiting.values() for one in waiting.values()]

    def _of(self, registration: Registration) -> Mapping[str, Registration]:
        return self._waiting.get(registration.environment, {})

    def _queue(self, registration: Registration, size: int) -> None:
        waiting = self._waiting.setdefault(registration.environment, {})
        waiting[registration.target.identifier] = registration
        self._spent += size


_Name = tuple[EnvironmentId, str]


def _name(registration: Registration) -> _Name:
    return (registration.environment, registration.target.identifier)


def _cost(registration: Registration) -> int:
    return entry_cost(_name(registration), registration)
