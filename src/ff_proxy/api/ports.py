"""What this room needs of others, as small protocols; ``app`` chooses the implementations."""

import asyncio
from collections.abc import Callable
from typing import Protocol, final

from ff_proxy.model.keys import EnvironmentId, SdkKey
from ff_proxy.model.target import Target
from ff_proxy.model.verdict import KeyVerdict
from ff_proxy.snapshots.registry import SnapshotRegistry
from ff_proxy.streams.hub import StreamOpening


class KeyChecker(Protocol):
    """Asks SaaS about a key that no snapshot knows, behind a negative cache and a rate limit."""

    async def check(self, key: SdkKey) -> KeyVerdict:
        """Answer within a bounded time; ``ACCEPTED`` means the store holds the key by now."""
        ...


class Registrar(Protocol):
    """Makes SaaS know targets, in the background."""

    def register(self, environment: EnvironmentId, target: Target) -> None:
        """Take ``target`` in; it never waits, and never raises."""
        ...


class Freshness(Protocol):
    """Says whether a snapshot is certainly as new as the store (spec/behaviour#read-your-writes)."""

    def fresh(self, environment: EnvironmentId, *, bulk: bool) -> bool:
        """Whether a request may be answered at once; ``bulk`` is a read of all flags or all segments."""
        ...

    def checker(self, environment: EnvironmentId, *, bulk: bool) -> Callable[[], bool]:
        """``fresh`` to be asked again and again."""
        ...

    async def refresh(self, environment: EnvironmentId) -> None:
        """Catch up with the store, for a bounded time; on failure what is held stays in force."""
        ...


class StreamHub(Protocol):
    """Keeps open streams; see ``streams.hub``."""

    def open_transport(
        self,
        transport: asyncio.Transport,
        opening: StreamOpening,
        head: bytes,
        on_closed: Callable[[], None],
    ) -> None:
        """Take over the connection: write ``head`` and the first heartbeat, and keep it until it ends."""
        ...


@final
class AlwaysFresh:
    """For a store in this process: SDKs hear of a change from the snapshot that they then read."""

    def fresh(self, environment: EnvironmentId, *, bulk: bool) -> bool:
        """Always."""
        del environment, bulk
        return True

    def checker(self, environment: EnvironmentId, *, bulk: bool) -> Callable[[], bool]:
        """See ``Freshness``."""
        del environment, bulk
        return lambda: True

    async def refresh(self, environment: EnvironmentId) -> None:
        """Nothing to do."""
        del environment


@final
class HeldKeys:
    """The key checker where there is no upstream: what is held decides (spec/behaviour#key-checks)."""

    def __init__(self, snapshots: SnapshotRegistry) -> None:
        self._snapshots = snapshots

    async def check(self, key: SdkKey) -> KeyVerdict:
        """Refused, once anything is loaded that the key could have been found in."""
        del key
        return KeyVerdict.REFUSED if self._snapshots.all() else KeyVerdict.UNAVAILABLE
