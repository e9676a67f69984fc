"""What each role of the process is handed: one frozen record, made of groups that roles share.

Each field of a group declares an option (see ``declare``). A choice between things that differ in kind (the
store, TLS or none) is a choice between records, so that nobody has to ask which of several fields count.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

from ff_proxy.config import value_types as kinds
from ff_proxy.config.declare import Mode, Option, Status, group, option, options_of
from ff_proxy.config.sections import COMPATIBILITY, MODE, OPERATION, SECTIONS, SOURCES
from ff_proxy.config.serving_options import (
    AbuseOptions,
    AdminOptions,
    LimitOptions,
    ServingOptions,
    ShutdownOptions,
    TlsOptions,
    TokenOptions,
)
from ff_proxy.config.store_options import (
    MemoryStoreOptions,
    RedisStoreOptions,
    SqliteStoreOptions,
    StoreOptions,
    TemporaryStoreOptions,
    any_store,
)
from ff_proxy.config.upstream_options import UpstreamOptions, UsageOptions
from ff_proxy.config.value_types import LogFormat, LogLevel
from ff_proxy.model.keys import Secret

__all__ = [
    "AbuseOptions",
    "AdminOptions",
    "CompatibilityOptions",
    "GenerateOptions",
    "LimitOptions",
    "MemoryStoreOptions",
    "ModeOptions",
    "OfflineOptions",
    "OnlineOptions",
    "OperationOptions",
    "RedisStoreOptions",
    "ReplicaOptions",
    "RoleOptions",
    "ServingOptions",
    "ShutdownOptions",
    "SourceOptions",
    "SqliteStoreOptions",
    "StoreOptions",
    "TemporaryStoreOptions",
    "TlsOptions",
    "TokenOptions",
    "UpstreamOptions",
    "UsageOptions",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeOptions:
    """What the process does."""

    section: ClassVar[str] = MODE

    offline: bool = option(kinds.BOOLEAN, False, "Serve from config-dir, with no outbound traffic at all")
    generate: bool = option(
        kinds.BOOLEAN,
        False,
        "Fetch everything, write it to config-dir, and exit",
        name="generate-offline-config",
    )
    read_replica: bool = option(
        kinds.BOOLEAN,
        False,
        "Serve from the shared Redis only; never talk to Harness",
        aliases=("readReplica",),
    )

    @property
    def mode(self) -> Mode:
        """The mode they choose; to generate is more specific than to be offline."""
        if self.generate:
            return Mode.GENERATE
        if self.read_replica:
            return Mode.REPLICA
        return Mode.OFFLINE if self.offline else Mode.ONLINE


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationOptions:
    """Our own logs: levels, form, colours, and the seconds between lines about health (``None``: none)."""

    section: ClassVar[str] = OPERATION

    least_level: LogLevel = option(
        kinds.LOG_LEVEL,
        LogLevel.INFO,
        "Least severe log lines that are written",
        name="log-level",
        reloadable=True,
    )
    environment_levels: tuple[tuple[str, LogLevel], ...] = option(
        kinds.LOG_LEVELS,
        (),
        "Log levels of single environments, as ENVIRONMENT=LEVEL with commas between",
        name="environment-log-level",
        reloadable=True,
    )
    debug: bool = option(kinds.BOOLEAN, False, "Same as log-level DEBUG", reloadable=True)
    log_format: LogFormat = option(
        kinds.LOG_FORMAT,
        LogFormat.AUTO,
        "Form of the log lines; auto: text on a terminal, else JSON",
    )
    no_color: bool = option(kinds.PRESENCE, False, "No colours on a terminal, whatever the value is")
    heartbeat_interval: float | None = option(
        kinds.zero_for_none(kinds.seconds()),
        60.0,
        "Seconds between log lines about the proxy's health; 0: none",
    )

    @property
    def log_level(self) -> LogLevel:
        """The effective level."""
        return LogLevel.DEBUG if self.debug else self.least_level


@dataclass(frozen=True, slots=True, kw_only=True)
class _DirectoryOptions:
    """The offline directory, which one mode reads and another writes."""

    section: ClassVar[str] = MODE

    config_dir: Path = option(
        kinds.PATH,
        Path("/config"),
        "Directory of the offline configuration, read by offline and written by generate-offline-config",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class OnlineOptions:
    """Connected to Harness, serving SDKs."""

    upstream: UpstreamOptions = group(UpstreamOptions)
    serving: ServingOptions = group(ServingOptions)
    store: StoreOptions = any_store()
    usage: UsageOptions = group(UsageOptions)
    operation: OperationOptions = group(OperationOptions)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaOptions:
    """Serving what others put into the shared Redis."""

    serving: ServingOptions = group(ServingOptions)
    store: RedisStoreOptions = group(RedisStoreOptions)
    usage: UsageOptions = group(UsageOptions)
    operation: OperationOptions = group(OperationOptions)


@dataclass(frozen=True, slots=True, kw_only=True)
class OfflineOptions(_DirectoryOptions):
    """Serving a directory; the store holds the secret and the targets only (spec/behaviour#combinations).

    ``grace`` is the number of seconds before what vanished from the directory is withdrawn.
    """

    grace: float = option(
        kinds.seconds(),
        30.0,
        "Seconds before what vanished from config-dir is withdrawn",
        name="offline-grace",
    )
    serving: ServingOptions = group(ServingOptions)
    store: StoreOptions = any_store()
    operation: OperationOptions = group(OperationOptions)


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateOptions(_DirectoryOptions):
    """Writing the directory; everything is in memory meanwhile."""

    upstream: UpstreamOptions = group(UpstreamOptions)
    operation: OperationOptions = group(OperationOptions)


RoleOptions = OnlineOptions | ReplicaOptions | OfflineOptions | GenerateOptions

ROLES: Final[Mapping[Mode, type[RoleOptions]]] = {
    Mode.ONLINE: OnlineOptions,
    Mode.REPLICA: ReplicaOptions,
    Mode.OFFLINE: OfflineOptions,
    Mode.GENERATE: GenerateOptions,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceOptions:
    """Files that hold further options."""

    section: ClassVar[str] = SOURCES

    env_file: Path | None = option(
        kinds.PATH,
        None,
        "File of environment variables (.env); lines that start with # or // are comments",
        in_files=False,
    )
    config_file: Path | None = option(
        kinds.PATH,
        None,
        "File of options (TOML), its keys named like the flags",
        name="config",
        variable="CONFIG_FILE",
        in_files=False,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CompatibilityOptions:
    """Options of the Go proxy that have no meaning here, or none yet."""

    section: ClassVar[str] = COMPATIBILITY

    proxy_key: Secret | None = option(
        kinds.SECRET,
        None,
        "One key for all environments, as in version 2 of the Go proxy: not supported yet, refused",
    )
    pprof: bool = option(kinds.BOOLEAN, False, "Profiler of the Go proxy", status=Status.IGNORED)
    gcp_profiler_enabled: bool = option(
        kinds.BOOLEAN, False, "Google Cloud profiler of the Go proxy", status=Status.IGNORED
    )
    redis_pool_size: str = option(
        kinds.TEXT, "", "Size of the Go proxy's connection pool", status=Status.IGNORED
    )
    metrics_stream_max_len: str = option(
        kinds.TEXT, "", "Length of the Go proxy's usage stream in Redis", status=Status.IGNORED
    )
    metrics_stream_read_concurrency: str = option(
        kinds.TEXT,
        "",
        "Readers of the Go proxy's usage stream in Redis",
        variable="METRIC_STREAM_READ_CONCURRENCY",
        status=Status.IGNORED,
    )


def declared(*roles: type[Any]) -> tuple[Option[Any], ...]:
    """Every option of ``roles`` and of what chooses among them, by section."""
    found = options_of(ModeOptions, *roles, SourceOptions, CompatibilityOptions)
    order = {section: number for number, section in enumerate(SECTIONS)}
    return tuple(sorted(found, key=lambda one: order.get(one.section, len(order))))


ALL: Final = declared(*ROLES.values())
"""Every option of the proxy, in the order in which people meet them."""
