"""Every option of the proxy, declared once, in the order in which people meet them (PRODUCT §2).

Parser, sources, checks, listing, report and ``docs/options.md`` are all made from these declarations.
"""

from pathlib import Path
from typing import Any, Final

from ff_proxy.config import kinds
from ff_proxy.config.addresses import HostPort
from ff_proxy.config.option import CONNECTED, Mode, Option, Standing

HARNESS: Final = "Harness"
MODE: Final = "Mode"
SERVING: Final = "Serving"
SECURITY: Final = "Security"
STORE: Final = "Store"
SYNC: Final = "Synchronisation"
OPERATION: Final = "Operation"
SOURCES: Final = "Sources"
COMPATIBILITY: Final = "Accepted for compatibility"

_CONFIG_URL: Final = "https://config.ff.harness.io/api/1.0"
_EVENTS_URL: Final = "https://events.ff.harness.io/api/1.0"

# A table: name, group, type and default on one line, the meaning on the next.
# fmt: off
ACCOUNT_IDENTIFIER: Final = Option(
    "account-identifier", HARNESS, kinds.TEXT, "",
    "Account to load the configuration of",
    required=CONNECTED,
)
ORG_IDENTIFIER: Final = Option(
    "org-identifier", HARNESS, kinds.TEXT, "",
    "Organisation to load the configuration of",
    required=CONNECTED,
)
ADMIN_SERVICE_TOKEN: Final = Option(
    "admin-service-token", HARNESS, kinds.SECRET, None,
    "Service account token for the admin service",
    required=CONNECTED,
)
API_KEYS: Final = Option(
    "api-keys", HARNESS, kinds.KEYS, (),
    "Server SDK keys, one or more per environment, with commas between; those of all sources are joined",
    required=CONNECTED,
)
ADMIN_SERVICE: Final = Option(
    "admin-service", HARNESS, kinds.URL, "https://app.harness.io/gateway/cf",
    "Address of the admin service: SDK keys and targets",
)
CLIENT_SERVICE: Final = Option(
    "client-service", HARNESS, kinds.URL, _CONFIG_URL,
    "Address of the client service: authentication and registration of targets",
)
METRIC_SERVICE: Final = Option(
    "metric-service", HARNESS, kinds.URL, _EVENTS_URL,
    "Address that usage is forwarded to",
)
SDK_BASE_URL: Final = Option(
    "sdk-base-url", HARNESS, kinds.URL, _CONFIG_URL,
    "Address of flags, target groups and the stream",
)
SDK_EVENTS_URL: Final = Option(
    "sdk-events-url", HARNESS, kinds.URL, _EVENTS_URL,
    "Address that usage is forwarded to if metric-service is not given",
)

OFFLINE: Final = Option(
    "offline", MODE, kinds.BOOLEAN, False,
    "Serve from config-dir, with no outbound traffic at all",
)
GENERATE_OFFLINE_CONFIG: Final = Option(
    "generate-offline-config", MODE, kinds.BOOLEAN, False,
    "Fetch everything, write it to config-dir, and end",
)
READ_REPLICA: Final = Option(
    "read-replica", MODE, kinds.BOOLEAN, False,
    "Serve from the shared Redis only; never talk to Harness",
    aliases=("readReplica",),
)
CONFIG_DIR: Final = Option(
    "config-dir", MODE, kinds.DIRECTORY, Path("/config"),
    "Directory of the offline configuration, read by offline and written by generate-offline-config",
)

PORT: Final = Option(
    "port", SERVING, kinds.PORT, 7000,
    "Port for SDKs; 0 lets the system choose one",
)
WORKERS: Final = Option(
    "workers", SERVING, kinds.whole_number(1, 1024), 1,
    "Processes that serve SDKs; with more than one, a further one talks to Harness",
)
TLS_ENABLED: Final = Option(
    "tls-enabled", SERVING, kinds.BOOLEAN, False,
    "Serve HTTPS; needs tls-cert and tls-key",
)
TLS_CERT: Final = Option(
    "tls-cert", SERVING, kinds.FILE, None,
    "Certificate chain in PEM; read again when the file changes",
)
TLS_KEY: Final = Option(
    "tls-key", SERVING, kinds.FILE, None,
    "Private key in PEM; read again when the file changes",
)
TLS_CLIENT_CA: Final = Option(
    "tls-client-ca", SERVING, kinds.FILE, None,
    "Certificate authority in PEM that SDKs must show a certificate of (mutual TLS)",
)
CORS_ALLOWED_ORIGINS: Final = Option(
    "cors-allowed-origins", SERVING, kinds.ORIGINS, ("*",),
    "Origins whose pages may call the proxy, with commas between",
)
MAX_CONNECTIONS: Final = Option(
    "max-connections", SERVING, kinds.whole_number(0), 0,
    "Most connections at a time, streams included; 0 derives it from the limit of open files",
)
MAX_BODY_SIZE: Final = Option(
    "max-body-size", SERVING, kinds.SIZE, 64 * 2**20,
    "Largest request body, in bytes or with KiB, MiB or GiB behind the number",
)
AND_RULES: Final = Option(
    "and-rules", SERVING, kinds.BOOLEAN, True,
    "Evaluate target groups with their AND rules, and send these to SDKs that ask with rules=v2",
)
JSON_VALUES: Final = Option(
    "json-values", SERVING, kinds.JSON_VALUES, kinds.JsonValues.PLAIN,
    "Form of a JSON flag's value in evaluations; escaped: encoded once more, as the Go proxy does",
)

AUTH_SECRET: Final = Option(
    "auth-secret", SECURITY, kinds.SECRET, None,
    "Signs the tokens that SDKs get; without it the proxy makes one, and keeps it where it has a store",
)
BYPASS_AUTH: Final = Option(
    "bypass-auth", SECURITY, kinds.BOOLEAN, False,
    "Check no tokens: whoever reaches the port can read every environment",
)
ADMIN_ADDRESS: Final = Option(
    "admin-address", SECURITY, kinds.ADMIN_ADDRESS, HostPort("127.0.0.1", 7001),
    "Address of the status page and admin API, or off; other than loopback needs admin-token",
    standing=Standing.LATER,
)
ADMIN_TOKEN: Final = Option(
    "admin-token", SECURITY, kinds.SECRET, None,
    "Token that the status page and admin API ask for",
    standing=Standing.LATER,
)

DATA_DIR: Final = Option(
    "data-dir", STORE, kinds.FILE, None,
    "Directory of the embedded store (SQLite); without it and Redis everything is kept in memory",
)
REDIS_ADDRESS: Final = Option(
    "redis-address", STORE, kinds.REDIS_ADDRESS, None,
    "Redis to keep everything in: host:port, redis://, rediss:// (TLS), unix://;"
    " several with commas between: Cluster; redis+sentinel://host1,host2/service",
    required=frozenset({Mode.REPLICA}),
)
REDIS_USERNAME: Final = Option(
    "redis-username", STORE, kinds.TEXT, "",
    "Redis user; overrides the address's",
)
REDIS_PASSWORD: Final = Option(
    "redis-password", STORE, kinds.SECRET, None,
    "Redis password; overrides the address's",
)
REDIS_DB: Final = Option(
    "redis-db", STORE, kinds.whole_number(0, 2**31 - 1), 0,
    "Redis database; overrides the address's",
)
REDIS_PREFIX: Final = Option(
    "redis-prefix", STORE, kinds.PREFIX, "ffp",
    "Beginning of every Redis key, so that several fleets can share one Redis",
)

FLAG_STREAM_ENABLED: Final = Option(
    "flag-stream-enabled", SYNC, kinds.BOOLEAN, True,
    "Follow Harness by its stream; false: by polling, for networks that swallow streams",
)
FLAG_POLL_INTERVAL: Final = Option(
    "flag-poll-interval", SYNC, kinds.seconds(1), 60.0,
    "Seconds between polls while there is no stream from Harness, at least 1",
)
TARGET_POLL_DURATION: Final = Option(
    "target-poll-duration", SYNC, kinds.seconds(), 0.0,
    "Seconds between fetches of the targets; 0: never",
)
API_KEY_REFRESH_INTERVAL: Final = Option(
    "api-key-refresh-interval", SYNC, kinds.seconds(1), 60.0,
    "Seconds between refreshes of the SDK keys, at least 1",
)
METRIC_POST_DURATION: Final = Option(
    "metric-post-duration", SYNC, kinds.seconds(), 60.0,
    "Seconds between posts of usage to Harness; 0: do not forward",
)
FORWARD_TARGETS: Final = Option(
    "forward-targets", SYNC, kinds.BOOLEAN, True,
    "Register the targets that SDKs bring with Harness",
)

LOG_LEVEL: Final = Option(
    "log-level", OPERATION, kinds.LOG_LEVEL, kinds.LogLevel.INFO,
    "Least severe log lines that are written",
)
DEBUG: Final = Option(
    "debug", OPERATION, kinds.BOOLEAN, False,
    "Same as log-level DEBUG",
)
HEARTBEAT_INTERVAL: Final = Option(
    "heartbeat-interval", OPERATION, kinds.seconds(), 60.0,
    "Seconds between log lines about the proxy's health; 0: none",
)
PROMETHEUS_PORT: Final = Option(
    "prometheus-port", OPERATION, kinds.OPTIONAL_PORT, None,
    "Port of its own for Prometheus; without it /metrics is on port",
)
SHUTDOWN_DELAY: Final = Option(
    "shutdown-delay", OPERATION, kinds.seconds(), 3.0,
    "Seconds of still accepting after the signal to stop, while load balancers take notice",
)
SHUTDOWN_DEADLINE: Final = Option(
    "shutdown-deadline", OPERATION, kinds.seconds(), 9.0,
    "Seconds after the signal to stop in which everything has ended, shutdown-delay included",
)

ENV_FILE: Final = Option(
    "env-file", SOURCES, kinds.FILE, None,
    "File of environment variables (.env); lines that start with # or // are comments",
    in_files=False,
)
CONFIG_FILE: Final = Option(
    "config", SOURCES, kinds.FILE, None,
    "File of options (TOML), its keys named like the flags",
    variable="CONFIG_FILE",
    in_files=False,
)

PROXY_KEY: Final = Option(
    "proxy-key", COMPATIBILITY, kinds.SECRET, None,
    "One key for all environments, as in version 2 of the Go proxy",
    standing=Standing.LATER,
)
PPROF: Final = Option(
    "pprof", COMPATIBILITY, kinds.BOOLEAN, False,
    "Profiler of the Go proxy",
    standing=Standing.IGNORED,
)
GCP_PROFILER_ENABLED: Final = Option(
    "gcp-profiler-enabled", COMPATIBILITY, kinds.BOOLEAN, False,
    "Google Cloud profiler of the Go proxy",
    standing=Standing.IGNORED,
)
REDIS_POOL_SIZE: Final = Option(
    "redis-pool-size", COMPATIBILITY, kinds.TEXT, "",
    "Size of the Go proxy's connection pool",
    standing=Standing.IGNORED,
)
METRICS_STREAM_MAX_LEN: Final = Option(
    "metrics-stream-max-len", COMPATIBILITY, kinds.TEXT, "",
    "Length of the Go proxy's usage stream in Redis",
    standing=Standing.IGNORED,
)
METRICS_STREAM_READ_CONCURRENCY: Final = Option(
    "metrics-stream-read-concurrency", COMPATIBILITY, kinds.TEXT, "",
    "Readers of the Go proxy's usage stream in Redis",
    variable="METRIC_STREAM_READ_CONCURRENCY",
    standing=Standing.IGNORED,
)
# fmt: on

ALL: Final[tuple[Option[Any], ...]] = tuple(
    declared for declared in globals().copy().values() if isinstance(declared, Option)
)
"""Every option above, in that order."""
