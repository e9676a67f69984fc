"""The last changes of each environment, kept in memory within a budget."""

from collections.abc import Sequence
from itertools import count
from typing import Final

import msgspec

from ff_proxy.admin.differences import Difference, differences
from ff_proxy.bounded import ENTRY_OVERHEAD, BoundedMap
from ff_proxy.model.clock import Clock
from ff_proxy.model.environment import Action, Domain
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.snapshots.registry import Announcement
from ff_proxy.snapshots.snapshot import Snapshot

_BUDGET: Final = 2 * 1024 * 1024
_AT_ONCE: Final = 50


class NotedChange(msgspec.Struct, frozen=True):
    """A change of one item; ``at`` is in seconds since the epoch."""

    at: float
    environment: EnvironmentId
    action: Action
    domain: Domain
    identifier: str
    version: int
    before: bytes | None = None
    after: bytes | None = None

    @property
    def differences(self) -> tuple[Difference, ...]:
        """The places where the item has changed."""
        return differences(self.before, self.after)


class ChangeLog:
    """Records the changes that the registry announces; the oldest are evicted first."""

    def __init__(self, clock: Clock, budget: int = _BUDGET) -> None:
        self._clock = clock
        self._numbers = count(1)
        self._noted: BoundedMap[int, NotedChange] = BoundedMap(
            budget,
            cost=lambda _, one: ENTRY_OVERHEAD + 400 + len(one.before or b"") + len(one.after or b""),
        )

    def note(self, announcement: Announcement) -> None:
        """Record an announcement; of many changes at once only the first ones are kept."""
        if announcement.previous is None or announcement.snapshot is None:
            return
        for change in announcement.changes[:_AT_ONCE]:
            self._noted.put(
                next(self._numbers),
                NotedChange(
                    self._clock.wall(),
                    announcement.environment,
                    change.action,
                    change.domain,
                    change.identifier,
                    change.version,
                    _wire(announcement.previous, change.domain, change.identifier),
                    _wire(announcement.snapshot, change.domain, change.identifier),
                ),
            )

    def of(
        self, environment: EnvironmentId, *, flag: str | None = None, most: int = 20
    ) -> Sequence[NotedChange]:
        """The last changes of an environment, or of one of its flags, newest first; thread-safe."""
        found = [
            one
            for one in tuple(self._noted.values())  # a copy: the event loop may add changes meanwhile
            if one.environment == environment
            and (flag is None or (one.domain is Domain.FLAG and one.identifier == flag))
        ]
        return found[::-1][:most]


def _wire(snapshot: Snapshot, domain: Domain, identifier: str) -> bytes | None:
    part = snapshot.items(domain).get(identifier)
    return None if part is None else part.item.wire
