"""Finds the environment of an SDK key; asks Harness about unknown keys."""

from typing import Final, final

from ff_proxy.api.key_attempts import KeyAttempts
from ff_proxy.api.ports import KeyChecker
from ff_proxy.errors import RequestError
from ff_proxy.http.response import RETRY_SOON, UNAVAILABLE
from ff_proxy.model.keys import SdkKey
from ff_proxy.model.verdict import KeyVerdict
from ff_proxy.snapshots.registry import SnapshotRegistry
from ff_proxy.snapshots.snapshot import Snapshot


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
