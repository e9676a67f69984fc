"""What this room needs from others: narrow protocols, and one record of them that ``app`` fills."""

from collections.abc import Awaitable, Callable, Collection, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Protocol, final

from ff_proxy.api.derived_secrets import DerivedSecrets
from ff_proxy.model.keys import EnvironmentId, KeyVerdict, SdkKey, Secret
from ff_proxy.model.readiness import Readiness
from ff_proxy.model.target import Target
from ff_proxy.snapshots.registry import SnapshotRegistry
from ff_proxy.store.protocol import StatusReader, Targets
from ff_proxy.usage.intake import Intake


class KeyChecker(Protocol):
    """Asks Harness about a key that no snapshot knows, behind a negative cache and a rate limit."""

    async def check(self, key: SdkKey) -> KeyVerdict:
        """Check within a bounded time; ``ACCEPTED`` means that the store has the key by now."""
        ...


class Registrar(Protocol):
    """Registers targets with Harness in the background."""

    def register(self, environment: EnvironmentId, target: Target) -> None:
        """Queue ``target``; never waits and never raises."""
        ...


class Freshness(Protocol):
    """Says whether a snapshot is known to be as new as the store (spec/behaviour#read-your-writes)."""

    def fresh(self, environment: EnvironmentId, *, bulk: bool) -> bool:
        """Whether a request may be answered at once; ``bulk``: it reads all flags or all segments."""
        ...

    def checker(self, environment: EnvironmentId, *, bulk: bool) -> Callable[[], bool] | None:
        """A function for repeated checks of ``fresh``; ``None`` if it is always true."""
        ...

    async def refresh(self, environment: EnvironmentId) -> None:
        """Catch up with the store within a bounded time; on failure the current snapshot stays in force."""
        ...


class SpanSink(Protocol):
    """Receives spans of requests; see ``otlp.spans``."""

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
        """Record a request answered at ``ended`` (wall clock) that took ``seconds``."""
        ...


@final
class AlwaysFresh:
    """For a store in this process, where a snapshot is swapped before its change is announced."""

    def fresh(self, environment: EnvironmentId, *, bulk: bool) -> bool:
        """Always true."""
        del environment, bulk
        return True

    def checker(self, environment: EnvironmentId, *, bulk: bool) -> None:
        """See ``Freshness``."""
        del environment, bulk

    async def refresh(self, environment: EnvironmentId) -> None:
        """Nothing to do."""
        del environment


class LoadedEnvironments(Protocol):
    """The environments that this process has loaded."""

    @property
    def names(self) -> AbstractSet[EnvironmentId]:
        """The currently loaded environments."""
        ...


@final
class LoadedKeys:
    """The key checker without an upstream: only loaded keys are valid (spec/behaviour#key-checks)."""

    def __init__(self, loaded: LoadedEnvironments) -> None:
        self._loaded = loaded

    async def check(self, key: SdkKey) -> KeyVerdict:
        """``REFUSED``, or ``UNAVAILABLE`` while no environment is loaded."""
        del key
        return KeyVerdict.REFUSED if self._loaded.names else KeyVerdict.UNAVAILABLE


def no_secrets(_: EnvironmentId) -> Collection[Secret]:
    """For a store that is not shared: there are no other members that sign."""
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Signing:
    """Which secrets sign tokens, and which others are accepted.

    Args:
        secret: awaited once after the port is bound, without a time limit; ``None`` if there are only
            ``derived`` secrets.
        keyless: accept tokens that name no key.
        others: secrets that other members sign with.
        bound: the same, each valid for one environment only.
        derived: sign until ``secret`` is known, or if there is none.
    """

    secret: Callable[[], Awaitable[Secret]] | None
    keyless: bool = False
    others: Callable[[], Collection[Secret]] = tuple
    bound: Callable[[EnvironmentId], Collection[Secret]] = no_secrets
    derived: DerivedSecrets | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependencies:
    """What this room needs from the process; differs by role.

    Args:
        snapshots: the snapshots to serve.
        targets: stored targets.
        statuses: the upstream status of each environment.
        key_checker: checks keys that no snapshot has.
        registrar: registers targets with Harness.
        intake: receives usage.
        freshness: says whether snapshots are as new as the store.
        readiness: returns the current readiness.
        environments: the environments that ``/health`` lists.
        given_up: whether an environment that is not loaded will never be, since no configured key is for it.
        signing: the secrets that sign tokens.
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
