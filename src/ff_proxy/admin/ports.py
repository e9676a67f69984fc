"""What the admin address needs from the process."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from prometheus_client import Metric

from ff_proxy.model.clock import Clock
from ff_proxy.model.keys import Secret
from ff_proxy.model.readiness import Readiness
from ff_proxy.snapshots.registry import SnapshotRegistry
from ff_proxy.store.protocol import FleetMembers, StatusReader, Targets
from ff_proxy.telemetry.levels import LogLevels
from ff_proxy.telemetry.log_ring import RecentLines
from ff_proxy.usage.tally import UsageTally


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
    snapshots: SnapshotRegistry
    statuses: StatusReader
    targets: Targets
    readiness: Callable[[], Readiness]
    settings: Callable[[], Sequence[SettingRow]]
    log: RecentLines
    levels: LogLevels
    collect: Callable[[], Iterable[Metric]]
    reload: Callable[[], ReloadResult]
    token: Callable[[], Secret | None]
    fleet: FleetMembers | None
    sdk_port: Callable[[], bytes]
    sent: UsageTally | None
    silent: str
    clock: Clock
