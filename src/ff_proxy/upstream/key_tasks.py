"""One task for each configured SDK key, started and ended as the configuration changes."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import Final

from ff_proxy.model.keys import SdkKey

# A library may swallow a cancellation (``asyncio.wait_for`` before Python 3.12): cancel again after a time
# that is long enough to release a lease.
_INSIST_SECONDS: Final = 3.0


class KeyTasks:
    """Runs ``follow`` for every wanted key, one task per key.

    Args:
        keys: the keys that are wanted at the start.
        follow: runs until cancelled, then releases what it holds.
        ended: called after tasks that were cancelled have ended.

    Attributes:
        wanted: the wanted keys.
    """

    def __init__(
        self,
        keys: Collection[SdkKey],
        follow: Callable[[SdkKey], Awaitable[object]],
        ended: Callable[[], object],
    ) -> None:
        self.wanted = tuple(keys)
        self._follow = follow
        self._ended = ended
        self._running: dict[SdkKey, asyncio.Task[None]] = {}
        self._ending: set[SdkKey] = set()
        self._changed = asyncio.Event()

    def want(self, keys: Collection[SdkKey]) -> None:
        """Want these keys and no others; the tasks of others are cancelled at once."""
        self.wanted = tuple(keys)
        for key in self._running.keys() - set(keys):
            self.restart(key)
        self._changed.set()

    def restart(self, key: SdkKey) -> None:
        """Cancel the key's task; once it has ended, start another one if the key is still wanted."""
        task = self._running.get(key)
        if task is not None:
            self._ending.add(key)
            task.cancel()
            self._changed.set()

    async def run(self) -> None:
        """Start and end tasks until cancelled; all of them end with this call."""
        try:
            async with asyncio.TaskGroup() as tasks:
                while True:
                    self._changed.clear()
                    for key in self.wanted:
                        if key not in self._running:
                            self._running[key] = tasks.create_task(self._run_one(key))
                    await self._end(frozenset(self._ending))
                    await self._changed.wait()
        finally:
            self._running.clear()
            self._ending.clear()

    async def _run_one(self, key: SdkKey) -> None:
        await self._follow(key)

    async def _end(self, keys: Collection[SdkKey]) -> None:
        pending = {self._running[key] for key in keys}
        while pending:
            _, pending = await asyncio.wait(pending, timeout=_INSIST_SECONDS)
            for task in pending:
                task.cancel()
        if keys:
            for key in keys:
                del self._running[key]
                self._ending.discard(key)
            self._ended()
            self._changed.set()
