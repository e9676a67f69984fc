"""What a mode is told: one frozen record per mode, made of groups that modes share.

A choice between things that differ in kind (the store, the admin listener) is a choice between types, so that
nobody has to ask which of several fields count.
"""

from dataclasses import dataclass
from pathlib import Path

from ff_proxy.config.addresses import HostPort, RedisAddress
from ff_proxy.config.kinds import JsonValues, LogLevel
from ff_proxy.model.keys import SdkKey, Secret


@dataclass(frozen=True, slots=True)
class MemoryStoreOptions:
    """Everything is kept in this process and ends with it."""


@dataclass(frozen=True, slots=True)
class TemporaryStoreOptions:
    """A SQLite file in a temporary directory: several workers share what ends with them (PRODUCT §6.8)."""


@dataclass(frozen=True, slots=True)
class SqliteStoreOptions:
    """A SQLite file in ``directory``, which survives restarts."""

    directory: Path


@dataclass(frozen=True, slots=True)
class RedisStoreOptions:
    """A Redis that the members of a fleet share; every key begins with ``prefix``.

    Credentials and database are the effective ones: the options', else the address's.
    """

    address: RedisAddress
    username: str
    password: Secret | None
    database: int
    prefix: str


StoreOptions = MemoryStoreOptions | TemporaryStoreOptions | SqliteStoreOptions | RedisStoreOptions


@dataclass(frozen=True, slots=True)
class TlsOptions:
    """HTTPS for SDKs; with ``client_ca`` they must show a certificate of that authority."""

    certificate: Path
    key: Path
    client_ca: Path | None


@dataclass(frozen=True, slots=True)
class AdminOptions:
    """Where the status page and admin API listen; ``token`` is asked of every caller if there is one.

    A busy address is fatal only if it is ``explicit``, that is, somebody chose it (PRODUCT §2).
    """

    address: HostPort
    token: Secret | None
    explicit: bool


@dataclass(frozen=True, slots=True)
class LimitOptions:
    """``max_connections`` at a time, ``None`` for what the limit of open files allows; bodies in bytes."""

    max_connections: int | None
    max_body_size: int


@dataclass(frozen=True, slots=True)
class ShutdownOptions:
    """Seconds after the signal: still accepting until ``delay``, ended by ``deadline`` (PRODUCT §6.9)."""

    delay: float
    deadline: float


@dataclass(frozen=True, slots=True)
class TokenOptions:
    """How tokens are signed and whether they are checked; no ``secret``: one of our own (PRODUCT §6.1).

    ``account`` is claimed where an environment's own account is not known.
    """

    secret: Secret | None
    bypass: bool
    account: str = ""


@dataclass(frozen=True, slots=True)
class ServingOptions:
    """What SDKs meet: ports, limits, tokens and the form of answers.

    ``prometheus_port`` is ``None`` if ``/metrics`` is served on ``port``; ``admin`` is ``None`` if it is off.
    """

    port: int
    workers: int
    tls: TlsOptions | None
    cors_allowed_origins: tuple[str, ...]
    limits: LimitOptions
    tokens: TokenOptions
    and_rules: bool
    json_values: JsonValues
    prometheus_port: int | None
    admin: AdminOptions | None
    shutdown: ShutdownOptions


@dataclass(frozen=True, slots=True)
class UpstreamOptions:
    """Harness SaaS: who we are there, where it is, and how it is followed. Intervals in seconds.

    ``target_poll_interval`` is ``None`` if targets are never fetched.
    """

    account: str
    organization: str
    admin_token: Secret
    api_keys: tuple[SdkKey, ...]
    admin_service: str
    client_service: str
    metric_service: str
    sdk_base_url: str
    stream_enabled: bool
    flag_poll_interval: float
    target_poll_interval: float | None
    key_refresh_interval: float
    forward_targets: bool


@dataclass(frozen=True, slots=True)
class UsageOptions:
    """Seconds between posts of usage; ``None``: usage is taken from SDKs and goes nowhere."""

    post_interval: float | None


@dataclass(frozen=True, slots=True)
class OperationOptions:
    """Our own logs: their level, and the seconds between lines about health (``None``: none)."""

    log_level: LogLevel
    heartbeat_interval: float | None


@dataclass(frozen=True, slots=True)
class OnlineOptions:
    """Connected to Harness, serving SDKs."""

    serving: ServingOptions
    store: StoreOptions
    upstream: UpstreamOptions
    usage: UsageOptions
    operation: OperationOptions


@dataclass(frozen=True, slots=True)
class ReplicaOptions:
    """Serving what others put into the shared Redis."""

    serving: ServingOptions
    store: RedisStoreOptions
    usage: UsageOptions
    operation: OperationOptions


@dataclass(frozen=True, slots=True)
class OfflineOptions:
    """Serving a directory; the store holds the secret and the targets only (PRODUCT §6.8)."""

    serving: ServingOptions
    store: StoreOptions
    config_dir: Path
    operation: OperationOptions


@dataclass(frozen=True, slots=True)
class GenerateOptions:
    """Writing the directory; everything is in memory meanwhile."""

    upstream: UpstreamOptions
    config_dir: Path
    operation: OperationOptions


ModeOptions = OnlineOptions | ReplicaOptions | OfflineOptions | GenerateOptions
