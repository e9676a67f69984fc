"""A configuration loads to the same record however it is said, and all that is wrong is said at once."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest

from ff_proxy.config import records
from ff_proxy.config.addresses import HostPort
from ff_proxy.config.load import load
from ff_proxy.config.value_types import AccessLog, JsonValues, LogFormat, LogLevel
from ff_proxy.errors import ConfigError, ExitCode
from ff_proxy.model.keys import SdkKey, Secret
from tests.support.config_ways import (
    ONLINE,
    REPLICA,
    UNGUESSABLE,
    WAYS,
    Said,
    as_flags,
)

KEYS = (SdkKey("11111111-aaaa"), SdkKey("22222222-bbbb"))
DEFAULT_SERVING = records.ServingOptions(
    port=7000,
    host=None,
    base_path="",
    workers=1,
    tls=None,
    cors_allowed_origins=("*",),
    limits=records.LimitOptions(
        max_connections=None, max_body_size=67108864, idle_timeout=620, memory_budget=None
    ),
    tokens=records.TokenOptions(secret=None, bypass=False),
    abuse=records.AbuseOptions(rate_limit=True, trusted_proxies=()),
    and_rules=True,
    json_values=JsonValues.PLAIN,
    prometheus_port=None,
    access_log=AccessLog.ERRORS,
    admin=records.AdminOptions(address=HostPort("127.0.0.1", 7001), token=None, explicit=False),
    shutdown=records.ShutdownOptions(delay=3, deadline=9),
)
DEFAULT_UPSTREAM = records.UpstreamOptions(
    account="acc",
    organization="org",
    admin_token=Secret("pat.token"),
    api_keys=KEYS,
    admin_service="https://app.harness.io/gateway/cf",
    client_service="https://config.ff.harness.io/api/1.0",
    metric_service="https://events.ff.harness.io/api/1.0",
    sdk_base_url="https://config.ff.harness.io/api/1.0",
    sdk_events_url="https://events.ff.harness.io/api/1.0",
    stream_enabled=True,
    flag_poll_interval=60,
    target_poll_interval=None,
    key_refresh_interval=60,
    forward_targets=True,
)
DEFAULT_OPERATION = records.OperationOptions(
    least_level=LogLevel.INFO, debug=False, log_format=LogFormat.AUTO, no_color=False, heartbeat_interval=60
)
DEFAULT_USAGE = records.UsageOptions(post_interval=60, ofrep=True)

EVERYTHING: Mapping[str, str] = {
    **ONLINE,
    "admin-service": "http://127.0.0.1:1/admin/",
    "client-service": "http://127.0.0.1:1/client",
    "metric-service": "http://127.0.0.1:1/metric",
    "sdk-base-url": "http://127.0.0.1:1/sdk",
    "sdk-events-url": "http://127.0.0.1:1/events",
    "port": "8443",
    "host": "127.0.0.1",
    "base-path": "/ff/",
    "idle-timeout": "30",
    "memory-budget": "1 GiB",
    "auth-rate-limit": "off",
    "trusted-proxies": "10.0.0.0/8,::1",
    "ofrep-usage": "false",
    "access-log": "all",
    "log-format": "text",
    "no-color": "1",
    "workers": "2",
    "tls-enabled": "true",
    "tls-cert": "/tls/cert.pem",
    "tls-key": "/tls/key.pem",
    "tls-client-ca": "/tls/ca.pem",
    "cors-allowed-origins": "https://a.example, https://b.example:8443",
    "max-connections": "500",
    "max-body-size": "2 MiB",
    "and-rules": "false",
    "json-values": "escaped",
    "auth-secret": "very secret",
    "bypass-auth": "true",
    "admin-address": "0.0.0.0:9000",
    "admin-token": "letmein",
    "data-dir": "/data",
    "flag-stream-enabled": "false",
    "flag-poll-interval": "5",
    "target-poll-duration": "30",
    "api-key-refresh-interval": "7",
    "metric-post-duration": "0",
    "forward-targets": "false",
    "log-level": "warning",
    "heartbeat-interval": "0",
    "prometheus-port": "9100",
    "shutdown-delay": "1.5",
    "shutdown-deadline": "4",
}


@pytest.mark.parametrize("way", WAYS)
class TestSaidInAnyWay:
    """One case, six ways."""

    def test_the_least_that_online_needs(self, way: Callable[..., Said]) -> None:
        """Four options suffice; all others have their documented defaults."""
        assert way(ONLINE).load().options == records.OnlineOptions(
            serving=replace(DEFAULT_SERVING, tokens=records.TokenOptions(account="acc")),
            store=records.MemoryStoreOptions(),
            upstream=DEFAULT_UPSTREAM,
            usage=DEFAULT_USAGE,
            operation=DEFAULT_OPERATION,
        )

    def test_everything_at_once(self, way: Callable[..., Said]) -> None:
        """Every option reaches its place in the record."""
        assert way(EVERYTHING).load().options == records.OnlineOptions(
            serving=records.ServingOptions(
                port=8443,
                host="127.0.0.1",
                base_path="/ff",
                workers=2,
                tls=records.TlsOptions(
                    certificate=Path("/tls/cert.pem"), key=Path("/tls/key.pem"), client_ca=Path("/tls/ca.pem")
                ),
                cors_allowed_origins=("https://a.example", "https://b.example:8443"),
                limits=records.LimitOptions(
                    max_connections=500, max_body_size=2097152, idle_timeout=30, memory_budget=2**30
                ),
                tokens=records.TokenOptions(secret=Secret("very secret"), bypass=True, account="acc"),
                abuse=records.AbuseOptions(
                    rate_limit=False, trusted_proxies=(ip_network("10.0.0.0/8"), ip_network("::1"))
                ),
                access_log=AccessLog.ALL,
                and_rules=False,
                json_values=JsonValues.ESCAPED,
                prometheus_port=9100,
                admin=records.AdminOptions(
                    address=HostPort("0.0.0.0", 9000), token=Secret("letmein"), explicit=True
                ),
                shutdown=records.ShutdownOptions(delay=1.5, deadline=4),
            ),
            store=records.SqliteStoreOptions(directory=Path("/data")),
            upstream=records.UpstreamOptions(
                account="acc",
                organization="org",
                admin_token=Secret("pat.token"),
                api_keys=KEYS,
                admin_service="http://127.0.0.1:1/admin",
                client_service="http://127.0.0.1:1/client",
                metric_service="http://127.0.0.1:1/metric",
                sdk_base_url="http://127.0.0.1:1/sdk",
                sdk_events_url="http://127.0.0.1:1/events",
                stream_enabled=False,
                flag_poll_interval=5,
                target_poll_interval=30,
                key_refresh_interval=7,
                forward_targets=False,
            ),
            usage=records.UsageOptions(post_interval=None, ofrep=False),
            operation=records.OperationOptions(
                least_level=LogLevel.WARNING,
                debug=False,
                log_format=LogFormat.TEXT,
                no_color=True,
                heartbeat_interval=None,
            ),
        )

    def test_a_replica(self, way: Callable[..., Said]) -> None:
        """A replica needs Redis and nothing else; its options override what the address says."""
        loaded = way(
            {
                "read-replica": "1",
                "redis-address": "rediss://jane:pa%3Ass@redis.example/3",
                "redis-password": "own",
                "redis-prefix": "fleet-2",
            }
        ).load()
        assert isinstance(loaded.options, records.ReplicaOptions)
        store = loaded.options.store
        assert store.address.nodes == (HostPort("redis.example", 6379),)
        assert store.address.tls
        assert (store.username, store.password, store.database) == ("jane", Secret("own"), 3)
        assert store.prefix == "fleet-2"

    def test_offline(self, way: Callable[..., Said]) -> None:
        """Offline needs nothing at all."""
        assert way({"offline": "true", "config-dir": "/flags"}).load().options == records.OfflineOptions(
            serving=DEFAULT_SERVING,
            store=records.MemoryStoreOptions(),
            config_dir=Path("/flags"),
            operation=DEFAULT_OPERATION,
        )

    def test_generate(self, way: Callable[..., Said]) -> None:
        """To generate is to connect, whether offline is set or not; a store is not used."""
        values = {"generate-offline-config": "true", "offline": "true", "redis-address": "r:1", **ONLINE}
        assert way(values).load().options == records.GenerateOptions(
            upstream=DEFAULT_UPSTREAM, config_dir=Path("/config"), operation=DEFAULT_OPERATION
        )

    def test_every_problem_is_named_at_once(self, way: Callable[..., Said]) -> None:
        """Unreadable values and missing options come in one error, exit 2, and no secret among them."""
        values = {
            "port": "70000",
            "workers": "many",
            "offline": "yes",
            "flag-poll-interval": "0.5",
            "redis-address": "redis://user:hunter2@host:port",
            "max-body-size": "1 furlong",
            "api-keys": "hunter2 hunter3,x",
        }
        with pytest.raises(ConfigError) as caught:
            way(values).load()
        problems = caught.value.problems
        assert caught.value.exit_code == ExitCode.BAD_CONFIGURATION
        assert sorted(problem.split(":")[0] for problem in problems) == sorted(
            [*values, "account-identifier", "org-identifier", "admin-service-token"]
        )
        assert "hunter" not in str(problems)
        assert "from 0 to 65535, not '70000'" in str(problems)


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"read-replica": "true"}, "redis-address: required by read-replica"),
        ({**REPLICA, "offline": "true"}, "read-replica: cannot be combined with offline"),
        (
            {**REPLICA, **ONLINE, "generate-offline-config": "true"},
            "read-replica: cannot be combined with generate-offline-config",
        ),
        ({"offline": "true", "generate-offline-config": "true"}, "api-keys: required to connect to Harness"),
        ({"offline": "true", "tls-enabled": "true", "tls-cert": "c"}, "tls-key: required by tls-enabled"),
        ({"offline": "true", "tls-enabled": "true", "tls-key": "k"}, "tls-cert: required by tls-enabled"),
        ({"offline": "true", "tls-client-ca": "c"}, "tls-client-ca: has no effect"),
        (
            {"offline": "true", "shutdown-delay": "10"},
            "shutdown-delay: must not be longer than shutdown-deadline",
        ),
        ({"offline": "true", "admin-address": "10.0.0.1:7001"}, "admin-token: required"),
        ({"offline": "true", "admin-address": ":7001"}, "admin-token: required"),
        ({"offline": "true", "admin-address": "[::1]:7000"}, "admin-address: port 7000 is taken by port"),
        (
            {"offline": "true", "admin-address": "localhost:9", "prometheus-port": "9"},
            "admin-address: port 9 is taken by prometheus-port",
        ),
        ({**REPLICA, "redis-address": "a:1,b:1", "redis-db": "2"}, "redis-db: must be 0"),
        ({**REPLICA, "redis-address": "redis://a/2,b:1"}, "redis-db: must be 0"),
        ({**ONLINE, "api-keys": " , "}, "api-keys: must contain at least one key"),
        ({**ONLINE, "account-identifier": "<string>"}, "account-identifier: must be filled in"),
        ({**ONLINE, "admin-service-token": "<string>"}, "admin-service-token: must be filled in"),
    ],
)
def test_what_cannot_be_combined(values: Mapping[str, str], problem: str) -> None:
    """Each rule over several options has its own words, and is the first word said."""
    with pytest.raises(ConfigError) as caught:
        as_flags(values).load()
    assert any(said.startswith(problem) for said in caught.value.problems), caught.value.problems


def test_offline_with_generate_names_all_that_is_missing() -> None:
    """Nothing but these four is wrong with it."""
    with pytest.raises(ConfigError) as caught:
        load(["-offline", "-generate-offline-config"], {})
    assert [problem.split(":")[0] for problem in caught.value.problems] == list(ONLINE)


@pytest.mark.parametrize(
    ("values", "warning"),
    [
        ({**ONLINE, "auth-secret": "secret"}, "auth-secret is the published default"),
        ({**ONLINE, "bypass-auth": "true"}, "bypass-auth is on"),
        ({**ONLINE, "data-dir": "/data", "redis-address": "r:1"}, "data-dir is not used"),
        ({**ONLINE, "pprof": "true"}, "pprof is ignored"),
        ({**ONLINE, "gcp-profiler-enabled": "false"}, "gcp-profiler-enabled is ignored"),
        ({**ONLINE, "redis-pool-size": "10"}, "redis-pool-size is ignored"),
        (
            {**ONLINE, "redis-password": "p", "redis-db": "1"},
            "redis-address is not set: redis-password, redis-db",
        ),
        (
            {**ONLINE, "tls-cert": "c", "tls-key": "k"},
            "tls-enabled is off: serving without TLS, tls-cert and",
        ),
        ({"offline": "true"}, "auth-secret is not set: tokens are signed with a secret derived"),
        ({**ONLINE, "auth-secret": "s3"}, "auth-secret can be guessed"),
        (
            {**ONLINE, "trusted-proxies": "10.0.0.1"},
            "prometheus-port is not set: anyone who reaches port 70",
        ),
        (
            {**ONLINE, "cors-allowed-origins": "https://a.example", "port": "8", "prometheus-port": "8"},
            "prometheus-port is not set: anyone who reaches port 8 can read /metrics, and by cors-",
        ),
    ],
)
def test_what_deserves_a_warning(values: Mapping[str, str], warning: str) -> None:
    """A warning is data for whoever has a log; here it is the only one."""
    (said,) = as_flags(values).load().warnings
    assert said.startswith(warning)


@pytest.mark.parametrize(
    "values",
    [
        ONLINE,
        REPLICA,
        {"offline": "true", "auth-secret": UNGUESSABLE},
        {**ONLINE, "trusted-proxies": "10.0.0.1", "host": "127.0.0.1"},
        {**ONLINE, "trusted-proxies": "10.0.0.1", "host": "unix:/s"},
        {
            "offline": "true",
            "auth-secret": UNGUESSABLE,
            "trusted-proxies": "10.0.0.1",
            "prometheus-port": "9",
        },
        {"offline": "true", "data-dir": "/data"},
        {"generate-offline-config": "true", "bypass-auth": "true", "auth-secret": "secret", **ONLINE},
    ],
)
def test_what_deserves_none(values: Mapping[str, str]) -> None:
    """Plain use warns of nothing, and generating does not warn about serving."""
    assert as_flags(values).load().warnings == ()


def test_the_flag_wins_over_the_environment_with_one_warning() -> None:
    """Options on which both agree, in whatever spelling, are not in it, nor are keys, which are joined."""
    loaded = load(
        ["-port", "1", "-debug=true", "-org-identifier", "o", "-api-keys", "k1"],
        {
            "PORT": "2",
            "DEBUG": "1",
            "ORG_IDENTIFIER": "other",
            "ACCOUNT_IDENTIFIER": "a",
            "ADMIN_SERVICE_TOKEN": "t",
            "API_KEYS": "k2",
        },
    )
    assert isinstance(loaded.options, records.OnlineOptions)
    assert loaded.options.serving.port == 1
    assert loaded.options.upstream.organization == "o"
    assert loaded.warnings == ("flag and environment variable differ, the flag wins: org-identifier, port",)


def test_each_source_yields_to_the_stronger_one() -> None:
    """Flag, environment, .env, TOML, default."""
    files = {
        ".env": "PORT=3\nWORKERS=3\nREDIS_PREFIX=three\n",
        "ff.toml": "port = 4\nworkers = 4\nredis-prefix = 'four'\nmax-connections = 4\n",
    }
    said = Said(
        argv=["-offline", "-env-file=.env", "-config=ff.toml", "-port=1"],
        environ={"PORT": "2", "WORKERS": "2"},
        files=files,
    )
    places = {setting.option.flag: (setting.value, setting.place) for setting in said.load().report}
    assert places["port"] == (1, "flag -port")
    assert places["workers"] == (2, "environment variable WORKERS")
    assert places["redis-prefix"] == ("three", ".env line 3")
    assert places["max-connections"] == (4, "ff.toml line 4")
    assert places["metric-post-duration"] == (60, "default")


def test_keys_of_all_sources_are_joined_once_each() -> None:
    """In the order of the sources' strength, trimmed, without empty ones and repetitions."""
    said = Said(
        argv=["-api-keys=k1, k2", "-api-keys", "k3,,k1", "-env-file=e", "-config=c"],
        environ={
            "API_KEYS": " k4 ,k2",
            **dict.fromkeys(("ACCOUNT_IDENTIFIER", "ORG_IDENTIFIER", "ADMIN_SERVICE_TOKEN"), "x"),
        },
        files={"e": "API_KEYS=k5", "c": 'api-keys = ["k6", "k4"]'},
    )
    options = said.load().options
    assert isinstance(options, records.OnlineOptions)
    assert [key.reveal() for key in options.upstream.api_keys] == ["k1", "k2", "k3", "k4", "k5", "k6"]


def test_empty_means_unset() -> None:
    """An empty value, or one of spaces, leaves the option to weaker sources and at last to its default."""
    options = load(["-offline", "-port=", "-config-dir", ""], {"PORT": "  ", "CONFIG_DIR": "/c"}).options
    assert isinstance(options, records.OfflineOptions)
    assert options.serving.port == 7000
    assert options.config_dir == Path("/c")


def test_usage_goes_to_the_events_address_if_only_that_is_given() -> None:
    """``sdk-events-url`` counts where ``metric-service`` does not say anything."""
    events = {**ONLINE, "sdk-events-url": "http://e"}
    for values, expected in ((events, "http://e"), ({**events, "metric-service": "http://m"}, "http://m")):
        options = as_flags(values).load().options
        assert isinstance(options, records.OnlineOptions)
        assert options.upstream.metric_service == expected


@pytest.mark.parametrize(
    ("values", "level"),
    [
        ({"debug": "true", "log-level": "ERROR"}, LogLevel.DEBUG),
        ({"debug": "false", "log-level": "error"}, LogLevel.ERROR),
        ({"debug": "false", "log-level": "debug"}, LogLevel.DEBUG),
        ({"log-level": "warn"}, LogLevel.WARNING),
    ],
)
def test_debug_is_a_log_level(values: Mapping[str, str], level: LogLevel) -> None:
    """``debug`` lowers the level and never raises it."""
    assert as_flags({"offline": "1", **values}).load().options.operation.log_level is level


def test_workers_without_a_store_share_a_temporary_one() -> None:
    """Several processes cannot share memory; with a directory or Redis they use that."""
    options = as_flags({"offline": "1", "workers": "2"}).load().options
    assert isinstance(options, records.OfflineOptions)
    assert options.store == records.TemporaryStoreOptions()


def test_admin_can_be_off() -> None:
    """``off`` is an address too."""
    options = as_flags({"offline": "1", "admin-address": "off"}).load().options
    assert isinstance(options, records.OfflineOptions)
    assert options.serving.admin.address is None


def test_prometheus_on_the_port_of_sdks_is_no_port_of_its_own() -> None:
    """Naming the same port is how the Go proxy's default says it."""
    options = as_flags({"offline": "1", "port": "8000", "prometheus-port": "8000"}).load().options
    assert isinstance(options, records.OfflineOptions)
    assert options.serving.metrics_port is None
