"""Finds the environment of an SDK key; asks Harness about unknown keys, at a limited rate."""

from typing import Final, final

from ff_proxy.api.ports import KeyChecker
from ff_proxy.errors import RequestError
from ff_proxy.http.failure_limit import too_many
from ff_proxy.http.response import RETRY_SOON, UNAVAILABLE
from ff_proxy.model.clock import Clock
from ff_proxy.model.keys import KeyVerdict, SdkKey, SdkKeyHash
from ff_proxy.model.token_buckets import TokenBuckets
from ff_proxy.snapshots.registry import SnapshotRegistry
from ff_proxy.snapshots.snapshot import Snapshot

# The burst covers a fleet that starts with a revoked key; guessing keys is slowed to the rate below.
_BURST_BY_CLIENT: Final = 100.0
_PER_SECOND_BY_CLIENT: Final = 1.0
_BURST_BY_KEY: Final = 1000.0
_PER_SECOND_BY_KEY: Final = 10.0


@final
class KeyAttempts:
    """Limits attempts with unknown keys (spec/behaviour#abuse-limits); known keys do not count.

    Args:
        clock: time.
        budget: bytes for counters.
        limited: whether the limits apply; may be changed at any time.
    """

    def __init__(self, clock: Clock, *, budget: int, limited: bool = True) -> None:
        self.limited = limited
        half = budget // 2
        self._clients: Final = TokenBuckets(_BURST_BY_CLIENT, _PER_SECOND_BY_CLIENT, clock, budget=half)
        self._keys: Final = TokenBuckets(_BURST_BY_KEY, _PER_SECOND_BY_KEY, clock, budget=half)

    def admit(self, client: str, key: SdkKeyHash) -> None:
        """Count an attempt; raises ``RequestError`` 429 beyond the rate of ``client`` (if any) or ``key``."""
        if not self.limited:
            return
        wait = self._clients.take(client) if client else 0
        wait = wait or self._keys.take(key)
        if wait:
            raise too_many(wait)


@final
class KeyLookup:
    """Finds the snapshot for a key.

    Args:
        snapshots: the loaded environments with their keys.
        checker: checks keys that no snapshot has.
        attempts: limits how often such keys are tried.
    """

    def __init__(self, snapshots: SnapshotRegistry, checker: KeyChecker, attempts: KeyAttempts) -> None:
        self._snapshots: Final = snapshots
        self._checker: Final = checker
        self._attempts: Final = attempts

    def loaded(self, key: SdkKey) -> Snapshot | None:
        """The snapshot of the key's environment, or ``None`` if it is not loaded."""
        environment = self._snapshots.environment_of(key.hash)
        return None if environment is None else self._snapshots.get(environment)

    async def find(self, key: SdkKey, client: str) -> Snapshot:
        """The snapshot of the key's environment, for a client at that address (empty: unknown).

        Raises ``RequestError`` 403 for an unknown key, 429 for too many of them, 503 if it cannot be checked.
        """
        snapshot = self.loaded(key)
        if snapshot is not None:
            return snapshot
        if not self._snapshots.ready.is_set():
            raise _unavailable("the proxy is starting")
        self._attempts.admit(client, key.hash)
        verdict = await self._checker.check(key)
        if verdict is KeyVerdict.REFUSED:
            raise RequestError(403, "the SDK key is not known here")
        if verdict is KeyVerdict.UNAVAILABLE:
            raise _unavailable("the SDK key cannot be checked now")
        await self._snapshots.resync()
        snapshot = self.loaded(key)
        if snapshot is None:
            raise _unavailable("the environment of this SDK key is not loaded yet")
        return snapshot


def _unavailable(message: str) -> RequestError:
    return RequestError(UNAVAILABLE, message, retry_after=RETRY_SOON)
