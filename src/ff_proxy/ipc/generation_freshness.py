"""Whether a worker's snapshot is as new as the sync process's store (spec/behaviour#read-your-writes)."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from ff_proxy.errors import StoreError
from ff_proxy.ipc.shared_generations import SharedGenerations
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.snapshots.registry import SnapshotRegistry

# Another process of this machine answers within a millisecond, or is being started again: to go back because
# of that would be worse than to wait. Of one that is away for long the client says so at once.
_LINK_SECONDS: Final = 3.0


class GenerationFreshness:
    """For a store in another process of this machine: shared memory tells whether anything moved."""

    def __init__(self, generations: SharedGenerations, snapshots: SnapshotRegistry) -> None:
        self._generations = generations
        self._snapshots = snapshots
        self._seen: dict[EnvironmentId, int] = {}
        self._checks: dict[EnvironmentId, Callable[[], bool]] = {}

    def fresh(self, environment: EnvironmentId, *, bulk: bool) -> bool:
        """Whether nothing was written since the environment was last compared."""
        return self.checker(environment, bulk=bulk)()

    def checker(self, environment: EnvironmentId, *, bulk: bool) -> Callable[[], bool]:
        """``fresh``, to be asked again and again: every request that is answered again calls it."""
        del bulk
        check = self._checks.get(environment)
        if check is None:
            counted, seen = self._generations.environment_reader(environment), self._seen.get

            def check() -> bool:
                return seen(environment) == counted()

            # Clients name environments that nobody holds: nothing is kept of those.
            if self._snapshots.get(environment) is not None:
                self._checks[environment] = check
        return check

    async def refresh(self, environment: EnvironmentId) -> None:
        """Catch up, or give up after ``_LINK_SECONDS``."""
        generations = self._generations.environment(environment)
        with suppress(StoreError, TimeoutError):
            async with asyncio.timeout(_LINK_SECONDS):
                await self._snapshots.refresh(environment)
                if self._snapshots.get(environment) is None:
                    self._seen.pop(environment, None)
                else:
                    self._seen[environment] = generations
