"""Whether a worker's snapshot is as new as the sync process's store (spec/behaviour#read-your-writes)."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from ff_proxy.errors import StoreError
from ff_proxy.ipc.shared_generations import SharedGenerations
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.snapshots.registry import SnapshotRegistry

# The sync process answers within a millisecond, unless it is restarting; waiting is better than serving older
# data. During a long outage the client fails at once.
_LINK_SECONDS: Final = 3.0


class GenerationFreshness:
    """For the store in the sync process: shared memory shows whether anything changed."""

    def __init__(self, generations: SharedGenerations, snapshots: SnapshotRegistry) -> None:
        self._generations = generations
        self._snapshots = snapshots
        self._seen: dict[EnvironmentId, int] = {}
        self._checks: dict[EnvironmentId, Callable[[], bool]] = {}

    def fresh(self, environment: EnvironmentId, *, bulk: bool) -> bool:
        """Whether nothing was written since the last comparison of the environment."""
        return self.checker(environment, bulk=bulk)()

    def checker(self, environment: EnvironmentId, *, bulk: bool) -> Callable[[], bool]:
        """``fresh`` as a function, called for every response from the cache."""
        del bulk
        check = self._checks.get(environment)
        if check is None:
            counted, seen = self._generations.environment_reader(environment), self._seen.get

            def check() -> bool:
                return seen(environment) == counted()

            # Clients may name unknown environments: keep no state for those.
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
