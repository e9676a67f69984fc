"""A feed of notices within one process: conflated per environment, so that no watcher can fall behind."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ff_proxy.model.keys import EnvironmentId
from ff_proxy.store.protocol import Notice


class Feed:
    """Hands each notice to every watcher; one that is slow sees the newest per environment."""

    def __init__(self) -> None:
        # In the order in which they came, which is the order in which they are told.
        self._watchers: dict[_Watcher, None] = {}

    def publish(self, notice: Notice) -> None:
        """Tell every watcher, without waiting for any."""
        for watcher in self._watchers:
            watcher.tell(notice)

    @asynccontextmanager
    async def watch(self) -> AsyncIterator[AsyncIterator[Notice]]:
        """Subscribe for as long as the context lasts."""
        watcher = _Watcher()
        self._watchers[watcher] = None
        try:
            yield watcher.notices()
        finally:
            del self._watchers[watcher]


class _Watcher:
    def __init__(self) -> None:
        self._pending: dict[EnvironmentId, Notice] = {}
        self._told = asyncio.Event()

    def tell(self, notice: Notice) -> None:
        self._pending[notice.environment] = notice
        self._told.set()

    async def notices(self) -> AsyncIterator[Notice]:
        while True:
            await self._told.wait()
            self._told.clear()
            pending, self._pending = self._pending, {}
            for notice in pending.values():
                yield notice
