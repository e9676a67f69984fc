"""Asking SaaS about keys that nobody here knows: a storm of bad ones never reaches it.

See spec/behaviour#key-checks.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from ff_proxy.bounded import BoundedMap
from ff_proxy.errors import UpstreamError, UpstreamRefused
from ff_proxy.model.clock import Clock
from ff_proxy.model.keys import EnvironmentId, SdkKey, SdkKeyHash
from ff_proxy.model.memory import LEAST_SHARES
from ff_proxy.model.verdict import KeyVerdict
from ff_proxy.telemetry import Telemetry
from ff_proxy.upstream.client import ClientApi

Accept = Callable[[EnvironmentId, SdkKeyHash], Awaitable[KeyVerdict]]
"""Adds a key that SaaS accepted to its environment, and says what that means for its bearer."""

_REFUSED_SECONDS: Final = 120.0
_BURST: Final = 30.0
_PER_SECOND: Final = 2.0
# SDKs wait 10 seconds at least (spec/sdk-wire#timeouts).
_ANSWER_SECONDS: Final = 5.0
_LONGEST_KEY: Final = 1024


class KeyChecker:
    """Checks one key at a time per key; remembers refusals; asks SaaS at a limited rate.

    Args:
        api: asks SaaS.
        accept: takes in keys that SaaS accepts.
        burst: how many checks may follow each other at once.
        per_second: how many are possible in the long run.
        budget: bytes of refused keys that are remembered.
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
        self._flights: dict[SdkKeyHash, asyncio.Future[KeyVerdict]] = {}
        self._burst = burst
        self._per_second = per_second
        self._tokens = burst
        self._filled = clock.monotonic()

    async def check(self, key: SdkKey) -> KeyVerdict:
        """What SaaS says of ``key``, or has said within the last two minutes; bounded to some seconds."""
        until = self._refused.get(key.hash)
        if until is not None:
            if self._clock.monotonic() < until:
                return KeyVerdict.REFUSED
            self._refused.pop(key.hash)
        if not 0 < len(key.reveal()) <= _LONGEST_KEY:
            return KeyVerdict.REFUSED
        flight = self._flights.get(key.hash)
        if flight is not None:
            # Shielded: whoever leaves early must not take the answer from the others.
            return await asyncio.shield(flight)
        if not self._take_token():
            self._once.warning("too many unknown keys: not checked with SaaS")
            return KeyVerdict.UNAVAILABLE
        return await self._fly(key)

    async def _fly(self, key: SdkKey) -> KeyVerdict:
        flight: asyncio.Future[KeyVerdict] = asyncio.get_running_loop().create_future()
        self._flights[key.hash] = flight
        verdict = KeyVerdict.UNAVAILABLE
        try:
            verdict = await self._ask(key)
        finally:
            # Also when this caller is cancelled: the others then ask again.
            del self._flights[key.hash]
            flight.set_result(verdict)
        if verdict is KeyVerdict.REFUSED:
            self._remember(key.hash)
        return verdict

    async def _ask(self, key: SdkKey) -> KeyVerdict:
        try:
            session = await self._api.authenticate(key, deadline=_ANSWER_SECONDS)
        except UpstreamRefused as refused:
            self._log.debug("unknown key refused by SaaS", key=key.masked, status=refused.status)
            return KeyVerdict.REFUSED
        except UpstreamError as error:
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

    def _take_token(self) -> bool:
        now = self._clock.monotonic()
        self._tokens = min(self._burst, self._tokens + (now - self._filled) * self._per_second)
        self._filled = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
