"""The environments in a store, polled for a process that serves none of them itself."""

import asyncio
from typing import Final

from ff_proxy.errors import StoreError
from ff_proxy.model.clock import Clock
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.store.protocol import ConfigReader

_SECONDS: Final = 0.5


class KnownEnvironments:
    """The service that polls twice a second; while the store does not answer, the last result counts."""

    name = "known environments"

    def __init__(self, configs: ConfigReader, clock: Clock) -> None:
        self.ready = asyncio.Event()
        self._configs = configs
        self._clock = clock
        self._names: frozenset[EnvironmentId] = frozenset()

    @property
    def names(self) -> frozenset[EnvironmentId]:
        """The environments."""
        return self._names

    async def run(self) -> None:
        """Poll until cancelled."""
        while True:
            await self.poll()
            await self._clock.sleep(_SECONDS)

    async def poll(self) -> None:
        """Poll once."""
        try:
            self._names = frozenset(await self._configs.environments())
        except StoreError:
            return  # those who need the store report it
        self.ready.set()
