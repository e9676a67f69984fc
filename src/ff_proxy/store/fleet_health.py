"""How a shared store and those who lead its environments are doing, as seen from one member."""

import asyncio
from collections.abc import Collection, Mapping
from typing import Final

import msgspec

from ff_proxy.errors import StoreError
from ff_proxy.model.clock import Clock
from ff_proxy.model.environment import UpstreamStatus
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.readiness import Readiness
from ff_proxy.store.protocol import StatusStore

_LOOK_SECONDS: Final = 2.0
_ANSWER_SECONDS: Final = 2.0
# The more environments, the less often: a member asks for no more than this many a second.
_PER_SECOND: Final = 100


class FleetHealth:
    """The service that looks every two seconds at what the leaders report.

    A member without its store, or whose environments nobody keeps in step, serves on and says so
    (spec/behaviour#readiness).
    """

    name = "outlook"

    def __init__(self, statuses: StatusStore, clock: Clock) -> None:
        self.ready = asyncio.Event()
        self._statuses = statuses
        self._clock = clock
        self._last: Mapping[EnvironmentId, UpstreamStatus] = {}
        self._trouble = ""

    async def run(self) -> None:
        """Look until cancelled; ``ready`` after the first look, whatever it saw."""
        while True:
            await self.look()
            self.ready.set()
            await self._clock.sleep(max(_LOOK_SECONDS, len(self._last) / _PER_SECOND))

    async def look(self) -> None:
        """Look once."""
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                self._last = await self._statuses.statuses()
        except (StoreError, TimeoutError) as error:
            self._trouble = str(error) or "no answer in time"
        else:
            self._trouble = ""

    def merge_into(self, readiness: Readiness, followed: Collection[EnvironmentId]) -> Readiness:
        """``readiness``, and what is wrong with the store and with ``followed``, which others lead.

        While the store is away what was last reported is not repeated: nobody knows.
        """
        if not self.ready.is_set():
            return readiness
        if self._trouble:
            found = [f"serving from memory, the store is away: {self._trouble}"]
        else:
            unknown = UpstreamStatus(trouble="nobody has followed Harness yet")
            troubles = {name: self._last.get(name, unknown).trouble for name in sorted(followed)}
            found = [f"environment {name}: {trouble}" for name, trouble in troubles.items() if trouble]
        return msgspec.structs.replace(readiness, degraded=(*readiness.degraded, *found))
