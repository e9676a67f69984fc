"""What is behind the server of a process: its store, and who keeps that current."""

from collections.abc import Callable, Collection, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from ff_proxy.api.ports import Freshness, KeyChecker, LoadedEnvironments
from ff_proxy.app.process import Step
from ff_proxy.app.signing import NOT_SHARED, SharedSecrets
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.readiness import Readiness
from ff_proxy.runtime.services import Phase, Service
from ff_proxy.snapshots.registry import SnapshotRegistry
from ff_proxy.store.protocol import (
    ChangeSource,
    ConfigReader,
    ConfigStore,
    FleetMembers,
    RegistrationIngest,
    Registrations,
    SecretStore,
    StatusReader,
    Targets,
    TargetStore,
    UsageIngest,
    UsageQueue,
)
from ff_proxy.usage.tally import UsageTally


class ServedConfigs(ConfigReader, ChangeSource, StatusReader, Protocol):
    """Environments to be served."""


class ServedStore(Protocol):
    """A store as far as a process needs it that serves SDKs."""

    @property
    def configs(self) -> ServedConfigs:
        """Environments, their feed and their upstream's status."""
        ...

    @property
    def targets(self) -> Targets:
        """Targets as SDKs described them."""
        ...

    @property
    def usage(self) -> UsageIngest:
        """Where counts are handed in."""
        ...

    @property
    def registrations(self) -> RegistrationIngest:
        """Where targets are handed in."""
        ...

    @property
    def secrets(self) -> SecretStore:
        """The signing secret."""
        ...


@dataclass(frozen=True, slots=True)
class Facets:
    """A whole store (``StoreFacets``) whose facets come from several."""

    configs: ConfigStore
    targets: TargetStore
    usage: UsageQueue
    registrations: Registrations
    secrets: SecretStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Who keeps a store current: Harness, a directory, the sync process, or other members of a fleet.

    Args:
        services: to be run for it.
        phases: steps of a shutdown, after the last request.
        readiness: how far it and the store have come.
        environments: which environments ``/health`` lists.
        key_checker: decides about keys that no snapshot has.
        settled: whether no others than ``environments`` can come to be served; by default that is not known.
        first_steps: to be taken before a worker serves SDKs.
        expected: what workers are to load before they are ready; used by a sync process only.
        standalone: what a store that others share does not have yet; used by a sync process only.
        sent: the usage that is sent to Harness here, if any is.
    """

    services: Sequence[Service]
    phases: Sequence[Phase] = ()
    readiness: Callable[[], Readiness]
    environments: Callable[[], Collection[EnvironmentId]]
    key_checker: KeyChecker
    settled: Callable[[], bool] = bool
    first_steps: Sequence[Step] = ()
    expected: Callable[[], AbstractSet[EnvironmentId]] = frozenset
    standalone: Callable[[], AbstractSet[EnvironmentId]] = frozenset
    sent: UsageTally | None = None


_Store = TypeVar("_Store", bound=ServedStore, covariant=True)  # noqa: PLC0105  (a private name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend(Generic[_Store]):
    """An open store, and how to follow its source.

    Args:
        store: the store.
        freshness: says whether snapshots are as new as the store.
        follow: starts from what this process has loaded, which it looks at again and again.
        secrets: what other members sign with.
        loaded: the store has everything already, so that snapshots can be made before anybody is served.
        retry: seconds until a store that failed is read again.
        members: the fleet that shares the store, if it is shared.
    """

    store: _Store
    freshness: Callable[[SnapshotRegistry], Freshness]
    follow: Callable[[LoadedEnvironments], Source]
    secrets: SharedSecrets = NOT_SHARED
    loaded: bool = False
    retry: float = 1.0
    members: FleetMembers | None = None
