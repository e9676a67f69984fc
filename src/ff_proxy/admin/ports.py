"""What the admin address needs from other rooms, as narrow protocols and frozen records."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from prometheus_client import Metric

from ff_proxy.model.clock import Clock
from ff_proxy.model.environment import UpstreamStatus
from ff_proxy.model.keys import EnvironmentId, Secret
from ff_proxy.model.member import SeenMember
from ff_proxy.model.readiness import Readiness
from ff_proxy.model.target import Target
from ff_proxy.model.usage import SentUsage
from ff_proxy.snapshots.registry import Listener
from ff_proxy.snapshots.snapshot import Snapshot
from ff_proxy.telemetry.log_ring import RecentLines


class Snapshots(Protocol):
    """The snapshots that this proxy serves."""

    def get(self, environment: EnvironmentId) -> Snapshot | None:
        """The environment's snapshot, or ``None`` while it is not loaded."""
        ...

    def all(self) -> Mapping[EnvironmentId, Snapshot]:
        """Every loaded environment's snapshot."""
        ...

    def listen(self, listener: Listener) -> None:
        """Call ``listener`` after every change."""
        ...


class Statuses(Protocol):
    """The upstream status of each environment."""

    async def statuses(self) -> Mapping[EnvironmentId, UpstreamStatus]:
        """The last status of every environment that has one; raises ``StoreError``."""
        ...


class KnownTargets(Protocol):
    """Targets that SDKs have sent."""

    async def get(self, environment: EnvironmentId, identifier: str) -> Target | None:
        """The stored target, or ``None``; raises ``StoreError``."""
        ...

    async def every(self, environment: EnvironmentId) -> Sequence[Target]:
        """All stored targets; raises ``StoreError``."""
        ...


class Fleet(Protocol):
    """The members that share the store, and the leaders of environments."""

    @property
    def own(self) -> str:
        """The name of this member."""
        ...

    async def present(self) -> Sequence[SeenMember]:
        """All registered members; raises ``StoreError``."""
        ...

    async def leaders(self, environments: Iterable[EnvironmentId]) -> Mapping[EnvironmentId, str]:
        """The name of each environment's leader, if it has one; raises ``StoreError``."""
        ...


class Sent(Protocol):
    """Usage that Harness has accepted from this proxy."""

    @property
    def since(self) -> float:
        """When counting began, in seconds since the epoch."""
        ...

    @property
    def complete(self) -> bool:
        """Whether nothing was evicted."""
        ...

    def of(self, environment: EnvironmentId) -> Sequence[SentUsage]:
        """The usage that was sent for the environment."""
        ...


class Levels(Protocol):
    """The log levels; see ``telemetry.levels``."""

    @property
    def default(self) -> str:
        """The level of lines that are not about an environment with its own level."""
        ...

    @property
    def environments(self) -> Mapping[str, str]:
        """Levels of single environments."""
        ...

    def change(self, default: str, environments: Mapping[str, str]) -> None:
        """Replace the levels."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyFacts:
    """Facts that do not change while the proxy runs. ``started`` is in seconds since the epoch."""

    version: str
    mode: str
    store: str
    address: str
    processes: int
    started: float
    and_rules: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingRow:
    """One option and its value as text, with secrets masked."""

    section: str
    flag: str
    variable: str
    value: str
    source: str
    given: bool
    meaning: str
    reloadable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ReloadResult:
    """The result of a reload; if there are ``problems``, nothing was changed."""

    changed: tuple[str, ...] = ()
    restart: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminPorts:
    """Everything that pages and API read.

    ``collect`` returns the metrics of all processes of this proxy and may block for some milliseconds.
    ``token`` is called on every request. ``fleet`` is ``None`` if the store is not shared, ``sent`` if this
    proxy sends no usage; ``silent`` then says why. ``sdk_port`` returns the OpenAPI document of the SDK port,
    as JSON.
    """

    facts: ProxyFacts
    snapshots: Snapshots
    statuses: Statuses
    targets: KnownTargets
    readiness: Callable[[], Readiness]
    settings: Callable[[], Sequence[SettingRow]]
    log: RecentLines
    levels: Levels
    collect: Callable[[], Iterable[Metric]]
    reload: Callable[[], ReloadResult]
    token: Callable[[], Secret | None]
    fleet: Fleet | None
    sdk_port: Callable[[], bytes]
    sent: Sent | None
    silent: str
    clock: Clock
