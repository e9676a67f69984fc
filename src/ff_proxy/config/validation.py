"""Every rule that looks at more than one option, in one place (PRODUCT §6.8).

Problems make the process end with exit 2, all of them named at once; warnings are for the log, and the
process goes on.
"""

from collections.abc import Iterator
from typing import Final

from ff_proxy.config import options
from ff_proxy.config.addresses import RedisTopology
from ff_proxy.config.option import Mode, Option, Standing
from ff_proxy.config.settings import Settings

GO_DEFAULT_SECRET: Final = "secret"  # noqa: S105  (the published default of the Go proxy, which must be warned about)

_NEEDED: Final = {
    Mode.ONLINE: "to connect to Harness",
    Mode.GENERATE: "to connect to Harness, which generate-offline-config does even if offline is set",
    Mode.REPLICA: "by read-replica, which serves from there",
}


def mode_of(settings: Settings) -> Mode:
    """The mode that the options choose; to generate is more specific than to be offline."""
    if settings[options.GENERATE_OFFLINE_CONFIG]:
        return Mode.GENERATE
    if settings[options.READ_REPLICA]:
        return Mode.REPLICA
    if settings[options.OFFLINE]:
        return Mode.OFFLINE
    return Mode.ONLINE


def missing(settings: Settings) -> list[Option[object]]:
    """The options that the mode cannot do without and nobody has set."""
    mode = mode_of(settings)
    return [option for option in options.ALL if mode in option.required and not settings.given(option)]


def problems(settings: Settings) -> Iterator[str]:
    """What makes the options unusable together; each begins with the name of an option."""
    mode = mode_of(settings)
    for option in missing(settings):
        how = f"flag -{option.flag} or environment variable {option.env}"
        yield f"{option.flag}: required {_NEEDED[mode]} ({how})"
    yield from _mode_problems(settings)
    if mode is not Mode.GENERATE:
        yield from _serving_problems(settings)
        yield from _store_problems(settings)


def warnings(settings: Settings) -> Iterator[str]:
    """What works but should be looked at."""
    yield from settings.warnings
    mode = mode_of(settings)
    for option in options.ALL:
        if option.standing is Standing.IGNORED and settings.given(option):
            yield f"{option.flag} has no meaning here and is ignored: it is accepted for compatibility"
        if option.standing is Standing.LATER and settings.given(option):
            yield f"{option.flag} is not supported yet; going on without it"
    if mode is Mode.GENERATE:
        return
    yield from _security_warnings(settings, mode)
    yield from _store_warnings(settings)


def _mode_problems(settings: Settings) -> Iterator[str]:
    if settings[options.READ_REPLICA]:
        for other in (options.OFFLINE, options.GENERATE_OFFLINE_CONFIG):
            if settings[other]:
                yield f"{options.READ_REPLICA.flag}: cannot be combined with {other.flag}"


def _serving_problems(settings: Settings) -> Iterator[str]:
    if settings[options.TLS_ENABLED]:
        for option in (options.TLS_CERT, options.TLS_KEY):
            if not settings.given(option):
                yield f"{option.flag}: required by {options.TLS_ENABLED.flag}"
    elif settings.given(options.TLS_CLIENT_CA):
        yield f"{options.TLS_CLIENT_CA.flag}: no certificate is asked for without {options.TLS_ENABLED.flag}"
    if settings[options.SHUTDOWN_DELAY] > settings[options.SHUTDOWN_DEADLINE]:
        yield (
            f"{options.SHUTDOWN_DELAY.flag}: must not be longer than {options.SHUTDOWN_DEADLINE.flag}"
            f" ({settings[options.SHUTDOWN_DEADLINE]:g} s), in which everything has to end"
        )
    yield from _admin_problems(settings)


def _admin_problems(settings: Settings) -> Iterator[str]:
    address = settings[options.ADMIN_ADDRESS]
    if address is None:
        return
    if not address.is_loopback and not settings.given(options.ADMIN_TOKEN):
        yield f"{options.ADMIN_TOKEN.flag}: required, since {options.ADMIN_ADDRESS.flag} is not loopback"
    if settings.given(options.ADMIN_ADDRESS) and address.port:
        ports = {
            options.PORT.flag: settings[options.PORT],
            options.PROMETHEUS_PORT.flag: settings[options.PROMETHEUS_PORT],
        }
        for flag, port in ports.items():
            if port == address.port:
                yield f"{options.ADMIN_ADDRESS.flag}: port {port} is taken by {flag}"


def _store_problems(settings: Settings) -> Iterator[str]:
    address = settings[options.REDIS_ADDRESS]
    if address is None or address.topology is not RedisTopology.CLUSTER:
        return
    database = settings[options.REDIS_DB] if settings.given(options.REDIS_DB) else address.database
    if database:
        yield f"{options.REDIS_DB.flag}: must be 0 for several addresses: a Cluster has no other database"


def _security_warnings(settings: Settings, mode: Mode) -> Iterator[str]:
    secret = settings[options.AUTH_SECRET]
    if settings[options.BYPASS_AUTH]:
        yield f"{options.BYPASS_AUTH.flag} is on: whoever reaches the port can read every environment"
    if secret is not None and secret.reveal() == GO_DEFAULT_SECRET:
        yield f"{options.AUTH_SECRET.flag} is the published default of the Go proxy: anybody can make tokens"
    if secret is None and mode is Mode.OFFLINE and not _has_store(settings):
        yield f"{options.AUTH_SECRET.flag} is not set: a random one is used, and tokens end with this process"
    if not settings[options.TLS_ENABLED]:
        unused = [o.flag for o in (options.TLS_CERT, options.TLS_KEY) if settings.given(o)]
        if unused:
            yield f"{options.TLS_ENABLED.flag} is off: serving without TLS, {' and '.join(unused)} unused"


def _store_warnings(settings: Settings) -> Iterator[str]:
    if settings.given(options.REDIS_ADDRESS):
        if settings.given(options.DATA_DIR):
            yield f"{options.DATA_DIR.flag} is not used, since {options.REDIS_ADDRESS.flag} is set"
        return
    names = (options.REDIS_USERNAME, options.REDIS_PASSWORD, options.REDIS_DB, options.REDIS_PREFIX)
    unused = [option.flag for option in names if settings.given(option)]
    if unused:
        yield f"{options.REDIS_ADDRESS.flag} is not set: {', '.join(unused)} unused"


def _has_store(settings: Settings) -> bool:
    return settings.given(options.REDIS_ADDRESS) or settings.given(options.DATA_DIR)
