"""Makes a mode's record out of settings that have passed every check."""

from collections.abc import Callable, Mapping
from typing import Final

from ff_proxy.config import options, records
from ff_proxy.config.kinds import LogLevel
from ff_proxy.config.option import Mode
from ff_proxy.config.settings import Settings
from ff_proxy.config.validation import mode_of
from ff_proxy.model.keys import Secret


def build(settings: Settings) -> records.ModeOptions:
    """The record of the mode that ``settings`` choose; they must have no problems."""
    return _BUILDERS[mode_of(settings)](settings)


def _online(settings: Settings) -> records.OnlineOptions:
    return records.OnlineOptions(
        serving=_serving(settings),
        store=_store(settings),
        upstream=_upstream(settings),
        usage=_usage(settings),
        operation=_operation(settings),
    )


def _replica(settings: Settings) -> records.ReplicaOptions:
    store = _store(settings)
    assert isinstance(store, records.RedisStoreOptions)  # noqa: S101  (required of replicas, and checked)
    return records.ReplicaOptions(
        serving=_serving(settings), store=store, usage=_usage(settings), operation=_operation(settings)
    )


def _offline(settings: Settings) -> records.OfflineOptions:
    return records.OfflineOptions(
        serving=_serving(settings),
        store=_store(settings),
        config_dir=settings[options.CONFIG_DIR],
        operation=_operation(settings),
    )


def _generate(settings: Settings) -> records.GenerateOptions:
    return records.GenerateOptions(
        upstream=_upstream(settings),
        config_dir=settings[options.CONFIG_DIR],
        operation=_operation(settings),
    )


def _serving(settings: Settings) -> records.ServingOptions:
    return records.ServingOptions(
        port=settings[options.PORT],
        workers=settings[options.WORKERS],
        tls=_tls(settings),
        cors_allowed_origins=settings[options.CORS_ALLOWED_ORIGINS],
        limits=records.LimitOptions(
            max_connections=settings[options.MAX_CONNECTIONS] or None,
            max_body_size=settings[options.MAX_BODY_SIZE],
        ),
        tokens=records.TokenOptions(
            secret=settings[options.AUTH_SECRET],
            bypass=settings[options.BYPASS_AUTH],
            account=settings[options.ACCOUNT_IDENTIFIER],
        ),
        and_rules=settings[options.AND_RULES],
        json_values=settings[options.JSON_VALUES],
        prometheus_port=_prometheus_port(settings),
        admin=_admin(settings),
        shutdown=records.ShutdownOptions(
            delay=settings[options.SHUTDOWN_DELAY], deadline=settings[options.SHUTDOWN_DEADLINE]
        ),
    )


def _tls(settings: Settings) -> records.TlsOptions | None:
    certificate, key = settings[options.TLS_CERT], settings[options.TLS_KEY]
    if not settings[options.TLS_ENABLED] or certificate is None or key is None:
        return None
    return records.TlsOptions(certificate, key, settings[options.TLS_CLIENT_CA])


def _prometheus_port(settings: Settings) -> int | None:
    own = settings[options.PROMETHEUS_PORT]
    return None if own == settings[options.PORT] else own


def _admin(settings: Settings) -> records.AdminOptions | None:
    address = settings[options.ADMIN_ADDRESS]
    if address is None:
        return None
    return records.AdminOptions(
        address, settings[options.ADMIN_TOKEN], explicit=settings.given(options.ADMIN_ADDRESS)
    )


def _store(settings: Settings) -> records.StoreOptions:
    address = settings[options.REDIS_ADDRESS]
    if address is not None:
        own_database = settings.given(options.REDIS_DB)
        return records.RedisStoreOptions(
            address=address,
            username=settings[options.REDIS_USERNAME] or address.username,
            password=settings[options.REDIS_PASSWORD] or address.password,
            database=settings[options.REDIS_DB] if own_database else address.database or 0,
            prefix=settings[options.REDIS_PREFIX],
        )
    directory = settings[options.DATA_DIR]
    if directory is not None:
        return records.SqliteStoreOptions(directory)
    if settings[options.WORKERS] > 1:
        return records.TemporaryStoreOptions()
    return records.MemoryStoreOptions()


def _upstream(settings: Settings) -> records.UpstreamOptions:
    # Usage goes where the Go proxy sent it: its own option first, else the SDK's if somebody chose that.
    events = options.METRIC_SERVICE
    if not settings.given(options.METRIC_SERVICE) and settings.given(options.SDK_EVENTS_URL):
        events = options.SDK_EVENTS_URL
    return records.UpstreamOptions(
        account=settings[options.ACCOUNT_IDENTIFIER],
        organization=settings[options.ORG_IDENTIFIER],
        admin_token=settings[options.ADMIN_SERVICE_TOKEN] or Secret(""),
        api_keys=settings[options.API_KEYS],
        admin_service=settings[options.ADMIN_SERVICE],
        client_service=settings[options.CLIENT_SERVICE],
        metric_service=settings[events],
        sdk_base_url=settings[options.SDK_BASE_URL],
        stream_enabled=settings[options.FLAG_STREAM_ENABLED],
        flag_poll_interval=settings[options.FLAG_POLL_INTERVAL],
        target_poll_interval=settings[options.TARGET_POLL_DURATION] or None,
        key_refresh_interval=settings[options.API_KEY_REFRESH_INTERVAL],
        forward_targets=settings[options.FORWARD_TARGETS],
    )


def _usage(settings: Settings) -> records.UsageOptions:
    return records.UsageOptions(post_interval=settings[options.METRIC_POST_DURATION] or None)


def _operation(settings: Settings) -> records.OperationOptions:
    return records.OperationOptions(
        log_level=LogLevel.DEBUG if settings[options.DEBUG] else settings[options.LOG_LEVEL],
        heartbeat_interval=settings[options.HEARTBEAT_INTERVAL] or None,
    )


_BUILDERS: Final[Mapping[Mode, Callable[[Settings], records.ModeOptions]]] = {
    Mode.ONLINE: _online,
    Mode.OFFLINE: _offline,
    Mode.GENERATE: _generate,
    Mode.REPLICA: _replica,
}
