"""Asks Harness about unknown keys, at a limited rate.

See spec/behaviour#key-checks.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from ff_proxy.bounded import BoundedMap
from ff_proxy.errors import UpstreamError, UpstreamRefused
from ff_proxy.model.backoff import requested_wait
from ff_proxy.model.clock import Clock
from ff_proxy.model.keys import EnvironmentId, KeyVerdict, SdkKey, SdkKeyHash
from ff_proxy.model.memory import LEAST_SHARES
from ff_proxy.model.token_buckets import TokenBuckets
from ff_proxy.telemetry import Telemetry
from ff_proxy.upstream.client import ClientApi

Accept = Callable[[EnvironmentId, SdkKeyHash], Awaitable[KeyVerdict]]
"""Adds a key that Harness accepted to its environment, and returns the verdict for the caller."""

_REFUSED_SECONDS: Final = 120.0
_BURST: Final = 30.0
_PER_SECOND: Final = 2.0
# SDKs wait at least 10 seconds (spec/sdk-wire#timeouts).
_ANSWER_SECONDS: Final = 5.0
_MAX_KEY_LENGTH: Final = 1024
# One bucket for all keys.
_ALL_KEYS: Final = "keys"
_RATE_BYTES: Final = 1024


class KeyChecker:
    """Checks each key once at a time, caches refusals, and limits the rate of requests to Harness.

    Args:
        api: asks Harness.
        accept: adds keys that Harness accepts.
        burst: the maximum number of checks in a burst.
        per_second: the sustained rate of checks.
        budget: bytes of cached refusals.
    """

    def __init__(
        self,
        api: ClientApi,
        accept: Accept,
        *,
        clock: Clock,
        telemetry: Telemetry,
        burst: float = _BURST,
        per_second: float = _PER_SECOND,
        budget: int = LEAST_SHARES.keys,
    ) -> None:
        self._api = api
        self._accept = accept
        self._clock = clock
        self._log = telemetry.logger("upstream")
        self._once = telemetry.once("upstream")
        self._refused: BoundedMap[SdkKeyHash, float] = BoundedMap(budget, dropped=telemetry.dropped("keys"))
        self._running: dict[SdkKeyHash, asyncio.Future[KeyVerdict]] = {}
        self._rate = TokenBuckets(burst, per_second, clock, budget=_RATE_BYTES)
        self._not_before = clock.monotonic()

    async def check(self, key: SdkKey) -> KeyVerdict:
        """Harness's verdict on ``key``, cached for two minutes; takes at most a few seconds."""
        refused_until = self._refused.get(key.hash)
        if refused_until is not None:
            if self._clock.monotonic() < refused_until:
                return KeyVerdict.REFUSED
            self._refused.pop(key.hash)
        if not 0 < len(key.reveal()) <= _MAX_KEY_LENGTH:
            return KeyVerdict.REFUSED
        check_task = self._running.get(key.hash)
        if check_task is not None:
            # Shielded: a cancelled caller must not cancel the check for the others.
            return await asyncio.shield(check_task)
        if self._clock.monotonic() < self._not_before:
            return KeyVerdict.UNAVAILABLE
        if self._rate.take(_ALL_KEYS):
            self._once.warning("too many unknown keys, not checked with Harness")
            return KeyVerdict.UNAVAILABLE
        return await self._share_check(key)

    async def _share_check(self, key: SdkKey) -> KeyVerdict:
        check_task: asyncio.Future[KeyVerdict] = asyncio.get_running_loop().create_future()
        self._running[key.hash] = check_task
        verdict = KeyVerdict.UNAVAILABLE
        try:
            verdict = await self._ask(key)
        finally:
            # Also when cancelled: the others then ask again.
            del self._running[key.hash]
            check_task.set_result(verdict)
        if verdict is KeyVerdict.REFUSED:
            self._remember(key.hash)
        return verdict

    async def _ask(self, key: SdkKey) -> KeyVerdict:
        try:
            session = await self._api.authenticate(key, deadline=_ANSWER_SECONDS)
        except UpstreamRefused as refused:
            self._log.debug("unknown key refused by Harness", key=key.masked, status=refused.status)
            return KeyVerdict.REFUSED
        except UpstreamError as error:
            # As long as Harness asks to wait, for whichever key.
            self._not_before = max(self._not_before, self._clock.monotonic() + requested_wait(error))
            self._once.warning("unknown key not checked", error=str(error))
            return KeyVerdict.UNAVAILABLE
        verdict = await self._accept(session.environment.id, key.hash)
        if verdict is KeyVerdict.REFUSED:
            self._once.warning(
                "key of an environment that is not configured here",
                session.environment.id,
                key=key.masked,
                hint="add a server key of that environment to api-keys to serve it",
            )
        return verdict

    def _remember(self, key: SdkKeyHash) -> None:
        self._refused.put(key, self._clock.monotonic() + _REFUSED_SECONDS)
