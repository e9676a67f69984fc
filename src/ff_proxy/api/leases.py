"""Leases that end cached responses when their snapshot is replaced."""

from typing import Final

from ff_proxy.http.handler import Lease
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.snapshots.registry import Announcement, SnapshotRegistry


class SnapshotLeases:
    """One lease per environment's current snapshot; swapping the snapshot ends it in the same step.

    Revoking a key swaps the snapshot too, so a cache hit need not check the key.
    """

    def __init__(self, snapshots: SnapshotRegistry) -> None:
        self._leases: Final[dict[EnvironmentId, Lease]] = {}
        snapshots.listen(self._swapped)

    def of(self, environment: EnvironmentId) -> Lease:
        """The lease of a loaded environment."""
        lease = self._leases.get(environment)
        if lease is None:
            lease = self._leases[environment] = Lease()
        return lease

    def _swapped(self, announcement: Announcement) -> None:
        lease = self._leases.pop(announcement.environment, None)
        if lease is not None:
            lease.current = False
