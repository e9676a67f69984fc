"""The backend of a process: its store, and the source that keeps it current."""

from collections.abc import Callable, Collection, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from ff_proxy.api.ports import Freshness, KeyChecker, LoadedEnvironments
from ff_proxy.app.process import Step
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
    """The environments to serve."""


class ServedStore(Protocol):
    """The parts of a store that a process needs to serve SDKs."""

    @property
    def configs(self) -> ServedConfigs:
        """Environments, their change feed and their upstream status."""
        ...

    @property
    def targets(self) -> Targets:
        """Targets that SDKs have sent."""
        ...

    @property
    def usage(self) -> UsageIngest:
        """Accepts usage counts."""
        ...

    @property
    def registrations(self) -> RegistrationIngest:
        """Accepts targets to register."""
        ...

    @property
    def secrets(self) -> SecretStore:
        """The signing secret."""
        ...


@dataclass(frozen=True, slots=True)
class Facets:
    """A complete store (``StoreFacets``) assembled from facets of several stores."""

    configs: ConfigStore
    targets: TargetStore
    usage: UsageQueue
    registrations: Registrations
    secrets: SecretStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What keeps a store current: Harness, a directory, the sync process, or other members of a fleet.

    Args:
        services: the services to run for it.
        phases: its shutdown phases, after the last request.
        readiness: returns the readiness of source and store.
        environments: returns the environments that ``/health`` lists.
        key_checker: checks keys that no snapshot has.
        settled: whether ``environments`` is final; by default that is not known.
        first_steps: awaited before a worker serves SDKs.
        expected: what workers must load before they are ready; used by a sync process only.
        standalone: environments that a shared store does not have yet; used by a sync process only.
        sent: the usage that this process sends to Harness, if any.
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
        freshness: makes the check of whether snapshots are as new as the store.
        follow: makes the source; gets the environments that this process has loaded, as a live view.
        loaded: the store is complete, so snapshots can be compiled before serving starts.
        retry: seconds until a failed store is read again.
        members: the fleet that shares the store, if any.
    """

    store: _Store
    freshness: Callable[[SnapshotRegistry], Freshness]
    follow: Callable[[LoadedEnvironments], Source]
    loaded: bool = False
    retry: float = 1.0
    members: FleetMembers | None = None
