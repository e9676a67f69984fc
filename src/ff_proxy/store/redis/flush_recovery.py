"""Detects that Redis was emptied, and restores what only members know.

See spec/behaviour#token-secrets, spec/behaviour#read-your-writes.
"""

import asyncio
from contextlib import suppress
from typing import Final
from uuid import uuid4

from ff_proxy.errors import StoreMisconfigured, StoreUnavailable
from ff_proxy.model.clock import Clock
from ff_proxy.model.readiness import Readiness
from ff_proxy.store.redis.connection import Connection
from ff_proxy.store.redis.keys import Keys
from ff_proxy.store.redis.replicated_set import ReplicatedSet
from ff_proxy.store.redis.secrets import RedisSecrets
from ff_proxy.store.redis.targets import RedisTargets
from ff_proxy.telemetry import Telemetry

_POLL_SECONDS: Final = 2.0
_UNUSABLE: Final = "Redis cannot be used with these options, serving without it"
_AWAY: Final = "Redis is away, serving without it"


class FlushRecovery:
    """The service that checks every two seconds whether a marker key still exists.

    It restores the secret, the targets that this member has seen, and those that it could not store while
    Redis was down. Leaders restore their environments.
    """

    name = "flush recovery"

    def __init__(
        self,
        connection: Connection,
        keys: Keys,
        secrets: RedisSecrets,
        targets: RedisTargets,
        clock: Clock,
        telemetry: Telemetry,
    ) -> None:
        self.ready = asyncio.Event()
        self._connection = connection
        self._markers = ReplicatedSet(connection, keys.born)
        self._secrets = secrets
        self._targets = targets
        self._clock = clock
        self._log = telemetry.logger("store")
        self._once = telemetry.once("store")
        self._trouble = ""
        self._up = telemetry.metrics.store_up
        # The marker in each copy, as last read.
        self._seen: dict[str, bytes] = {}

    async def run(self) -> None:
        """Poll until cancelled."""
        self.ready.set()
        while True:
            await self.poll_and_report()
            await self._clock.sleep(_POLL_SECONDS)

    async def poll_and_report(self) -> None:
        """Poll once, and log when Redis becomes unusable or usable again."""
        try:
            await self.poll()
        except StoreUnavailable as error:
            self._trouble = str(error)
            self._up.set(0)
            if isinstance(error, StoreMisconfigured):
                self._once.error(_UNUSABLE, error=self._trouble)
            else:
                self._once.warning(_AWAY, error=self._trouble)
            return
        said = [self._once.forget(event) for event in (_UNUSABLE, _AWAY)]
        self._trouble = ""
        self._up.set(1)
        if any(said):
            self._log.info("Redis can be used again")

    def merge_into(self, readiness: Readiness) -> Readiness:
        """Add Redis problems to ``readiness``."""
        found = [f"Redis is not of use: {self._trouble}"] if self._trouble else []
        if not found:
            found = [
                f"changes of other members are noticed late, no subscription to {channel}: {trouble}"
                for channel, trouble in self._connection.failed_channels.items()
            ]
        if any(self._trouble and self._trouble in reason for reason in readiness.degraded):
            return readiness
        return readiness.with_degraded(*found)

    async def poll(self) -> None:
        """Poll once; raises ``StoreUnavailable``."""
        marks = dict(await self._markers.on_each_copy(self._read_marker))
        new = [copy for copy, born in marks.items() if self._seen.get(copy) != born]
        if any(copy in self._seen for copy in new):
            self._once.warning("Redis was emptied, putting back secret and targets")
            await self._targets.restore()
        if new:
            await self._check_eviction()
        # Always: it is cheap, and Redis may have been emptied before the first poll.
        await self._secrets.restore()
        if self._secrets.others():
            self._once.warning("members sign tokens with different secrets, all of them are taken")
        await self._targets.flush_pending()
        self._seen |= marks
        self._once.forget("Redis was emptied, putting back secret and targets")

    async def _read_marker(self, copy: str) -> tuple[str, bytes]:
        await self._connection.do("SET", copy, uuid4().hex, "NX")
        return copy, await self._connection.do("GET", copy)

    async def _check_eviction(self) -> None:
        with suppress(StoreUnavailable):  # the user may have no right to the command
            memory = await self._connection.do("INFO", "memory")
            policy = memory.get("maxmemory_policy", "noeviction")
            if memory.get("maxmemory") and policy != "noeviction":
                self._once.warning(
                    "Redis drops what is stored when its memory is full: set maxmemory-policy noeviction",
                    policy=policy,
                )
