"""The frozen record of options for each role, made of groups that roles share.

Each field of a group declares an option (see ``declare``). A choice between alternatives (the store, TLS or
none) is a choice between records, so there are never fields that do not apply.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

from ff_proxy.config import value_types as kinds
from ff_proxy.config.declare import Mode, Option, group, option, options_of
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

    offline: bool = option(kinds.BOOLEAN, False, "Serve from config-dir, without any outbound traffic")
    generate: bool = option(
        kinds.BOOLEAN,
        False,
        "Fetch everything, write it to config-dir and exit",
        name="generate-offline-config",
    )
    read_replica: bool = option(
        kinds.BOOLEAN,
        False,
        "Serve only from the shared Redis; never connect to Harness",
        aliases=("readReplica",),
    )

    @property
    def mode(self) -> Mode:
        """The mode they choose; generating takes precedence over offline."""
        if self.generate:
            return Mode.GENERATE
        if self.read_replica:
            return Mode.REPLICA
        return Mode.OFFLINE if self.offline else Mode.ONLINE


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationOptions:
    """The proxy's logs. ``heartbeat_interval`` is in seconds; ``None`` turns health lines off."""

    section: ClassVar[str] = OPERATION

    least_level: LogLevel = option(
        kinds.LOG_LEVEL,
        LogLevel.INFO,
        "Log lines of this level and above",
        name="log-level",
        reloadable=True,
    )
    environment_levels: tuple[tuple[str, LogLevel], ...] = option(
        kinds.LOG_LEVELS,
        (),
        "Log levels of single environments, as ENVIRONMENT=LEVEL, separated by commas",
        name="environment-log-level",
        reloadable=True,
    )
    debug: bool = option(kinds.BOOLEAN, False, "Same as log-level DEBUG", reloadable=True)
    log_format: LogFormat = option(
        kinds.LOG_FORMAT,
        LogFormat.AUTO,
        "Format of log lines; auto: text on a terminal, else JSON",
    )
    no_color: bool = option(kinds.PRESENCE, False, "Disable colours; any value counts")
    heartbeat_interval: float | None = option(
        kinds.zero_for_none(kinds.seconds(1)),
        60.0,
        "Seconds between log lines about the proxy's health; 0: none",
    )

    @property
    def log_level(self) -> LogLevel:
        """The effective level."""
        return LogLevel.DEBUG if self.debug else self.least_level


@dataclass(frozen=True, slots=True, kw_only=True)
class _DirectoryOptions:
    """The offline directory."""

    section: ClassVar[str] = MODE

    config_dir: Path = option(
        kinds.PATH,
        Path("/config"),
        "Directory of the offline configuration; offline reads it, generate-offline-config writes it",
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
    """Serving what other members write to the shared Redis."""

    serving: ServingOptions = group(ServingOptions)
    store: RedisStoreOptions = group(RedisStoreOptions)
    usage: UsageOptions = group(UsageOptions)
    operation: OperationOptions = group(OperationOptions)


@dataclass(frozen=True, slots=True, kw_only=True)
class OfflineOptions(_DirectoryOptions):
    """Serving a directory; the store is only for the secret and the targets (spec/behaviour#combinations).

    ``grace`` is the number of seconds before something that disappeared from the directory is removed.
    """

    grace: float = option(
        kinds.seconds(),
        30.0,
        "Seconds before something that disappeared from config-dir is removed",
        name="offline-grace",
    )
    serving: ServingOptions = group(ServingOptions)
    store: StoreOptions = any_store()
    operation: OperationOptions = group(OperationOptions)


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateOptions(_DirectoryOptions):
    """Writing the directory; needs no store."""

    upstream: UpstreamOptions = group(UpstreamOptions)
    operation: OperationOptions = group(OperationOptions)


ProxyOptions = OnlineOptions | OfflineOptions | ReplicaOptions
"""The options of a proxy that serves SDKs."""

RoleOptions = ProxyOptions | GenerateOptions

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
        "File of environment variables (.env); lines starting with # or // are comments",
        in_files=False,
    )
    config_file: Path | None = option(
        kinds.PATH,
        None,
        "File of options (TOML); its keys are the flags' names",
        name="config",
        variable="CONFIG_FILE",
        in_files=False,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CompatibilityOptions:
    """Options of the Go proxy that are ignored or not supported yet."""

    section: ClassVar[str] = COMPATIBILITY

    proxy_key: Secret | None = option(
        kinds.SECRET,
        None,
        "One key for all environments, as in version 2 of the Go proxy: not supported yet, refused",
    )
    pprof: bool = option(kinds.BOOLEAN, False, "Profiler of the Go proxy", ignored=True)
    gcp_profiler_enabled: bool = option(
        kinds.BOOLEAN, False, "Google Cloud profiler of the Go proxy", ignored=True
    )
    redis_pool_size: str = option(kinds.TEXT, "", "Size of the Go proxy's connection pool", ignored=True)
    metrics_stream_max_len: str = option(
        kinds.TEXT, "", "Length of the Go proxy's usage stream in Redis", ignored=True
    )
    metrics_stream_read_concurrency: str = option(
        kinds.TEXT,
        "",
        "Readers of the Go proxy's usage stream in Redis",
        variable="METRIC_STREAM_READ_CONCURRENCY",
        ignored=True,
    )


ALL: Final[tuple[Option[Any], ...]] = tuple(
    sorted(
        options_of(ModeOptions, *ROLES.values(), SourceOptions, CompatibilityOptions),
        key=lambda one: SECTIONS.index(one.section),
    )
)
"""Every option of the proxy, in the order of the help."""
