"""What this room needs of others: narrow protocols, and one record of them that ``app`` fills."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Protocol, final

from ff_proxy.api.derived_secrets import DerivedSecrets
from ff_proxy.model.keys import EnvironmentId, SdkKey, Secret
from ff_proxy.model.readiness import Readiness
from ff_proxy.model.target import Target
from ff_proxy.model.verdict import KeyVerdict
from ff_proxy.snapshots.registry import SnapshotRegistry
from ff_proxy.store.protocol import StatusReader, Targets
from ff_proxy.streams.hub import StreamOpening
from ff_proxy.usage.intake import Intake


class KeyChecker(Protocol):
    """Asks Harness about a key that no snapshot knows, behind a negative cache and a rate limit."""

    async def check(self, key: SdkKey) -> KeyVerdict:
        """Answer within a bounded time; ``ACCEPTED`` means the store holds the key by now."""
        ...


class Registrar(Protocol):
    """Makes Harness know targets, in the background."""

    def register(self, environment: EnvironmentId, target: Target) -> None:
        """Take ``target`` in; it never waits, and never raises."""
        ...


class Freshness(Protocol):
    """Says whether a snapshot is certainly as new as the store (spec/behaviour#read-your-writes)."""

    def fresh(self, environment: EnvironmentId, *, bulk: bool) -> bool:
        """Whether a request may be answered at once; ``bulk`` is a read of all flags or all segments."""
        ...

    def checker(self, environment: EnvironmentId, *, bulk: bool) -> Callable[[], bool] | None:
        """``fresh`` to be asked again and again; ``None``: it always holds."""
        ...

    async def refresh(self, environment: EnvironmentId) -> None:
        """Catch up with the store, for a bounded time; on failure what is held stays in force."""
        ...


class SpanSink(Protocol):
    """Takes spans of requests; see ``otlp.spans``."""

    def record(
        self,
        name: str,
        ended: float,
        seconds: float,
        attributes: Mapping[str, str | int],
        *,
        traceparent: str = "",
        failed: bool = False,
    ) -> None:
        """A request that was answered at ``ended`` (wall clock) after ``seconds``."""
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

    def checker(self, environment: EnvironmentId, *, bulk: bool) -> None:
        """See ``Freshness``."""
        del environment, bulk

    async def refresh(self, environment: EnvironmentId) -> None:
        """Nothing to do."""
        del environment


class LoadedEnvironments(Protocol):
    """What this process has loaded."""

    @property
    def names(self) -> AbstractSet[EnvironmentId]:
        """The environments, as they are at the moment."""
        ...


@final
class HeldKeys:
    """The key checker where there is no upstream: what is loaded decides (spec/behaviour#key-checks)."""

    def __init__(self, loaded: LoadedEnvironments) -> None:
        self._loaded = loaded

    async def check(self, key: SdkKey) -> KeyVerdict:
        """Refused, once anything is loaded that the key could have been found in."""
        del key
        return KeyVerdict.REFUSED if self._loaded.names else KeyVerdict.UNAVAILABLE


def no_secrets(_: EnvironmentId) -> Collection[Secret]:
    """For a store that is not shared: nobody else signs."""
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Signing:
    """Which secrets sign tokens, and which are accepted besides.

    Args:
        secret: is awaited once, after the port is bound, and may take as long as it needs; ``None`` if there
            are only ``derived`` secrets.
        keyless: tokens that name no key are accepted.
        others: secrets that other members sign with.
        bound: the same, each good for one environment only.
        derived: sign while ``secret`` is awaited, or where there is none.
    """

    secret: Callable[[], Awaitable[Secret]] | None
    keyless: bool = False
    others: Callable[[], Collection[Secret]] = tuple
    bound: Callable[[EnvironmentId], Collection[Secret]] = no_secrets
    derived: DerivedSecrets | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependencies:
    """What this room needs of a process, and what differs from role to role.

    Args:
        snapshots: what is served.
        targets: descriptions of targets.
        statuses: how the upstream of each environment is doing.
        key_checker: decides about keys that no snapshot has.
        registrar: hears of targets.
        intake: takes usage.
        freshness: says whether snapshots are as new as the store.
        readiness: how far the process has come.
        environments: which environments ``/health`` lists.
        given_up: whether an environment that is not loaded will not be, since no configured key is of it.
        signing: which secrets sign tokens.
    """

    snapshots: SnapshotRegistry
    targets: Targets
    statuses: StatusReader
    key_checker: KeyChecker
    registrar: Registrar
    intake: Intake
    freshness: Freshness
    readiness: Callable[[], Readiness]
    environments: Callable[[], Collection[EnvironmentId]]
    given_up: Callable[[EnvironmentId], bool]
    signing: Signing
