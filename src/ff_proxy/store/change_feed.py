"""A feed of notices within one process, conflated per environment, so that no watcher falls behind."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ff_proxy.model.keys import EnvironmentId
from ff_proxy.store.protocol import Notice


class Feed:
    """Delivers each notice to every watcher; a slow one gets only the newest per environment."""

    def __init__(self) -> None:
        # In order of arrival.
        self._watchers: dict[_Watcher, None] = {}

    def publish(self, notice: Notice) -> None:
        """Notify every watcher without waiting."""
        for watcher in self._watchers:
            watcher.notify(notice)

    @asynccontextmanager
    async def watch(self) -> AsyncIterator[AsyncIterator[Notice]]:
        """Subscribe during the context."""
        watcher = _Watcher()
        self._watchers[watcher] = None
        try:
            yield watcher.notices()
        finally:
            del self._watchers[watcher]


class _Watcher:
    def __init__(self) -> None:
        self._pending: dict[EnvironmentId, Notice] = {}
        self._wake = asyncio.Event()

    def notify(self, notice: Notice) -> None:
        self._pending[notice.environment] = notice
        self._wake.set()

    async def notices(self) -> AsyncIterator[Notice]:
        while True:
            await self._wake.wait()
            self._wake.clear()
            pending, self._pending = self._pending, {}
            for notice in pending.values():
                yield notice
