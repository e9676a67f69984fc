"""The rules about combinations of options, and about unknown ones.

See spec/behaviour#combinations.

Problems are reported all at once and end the process with exit code 2; warnings are logged, and the process
continues.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from ff_proxy.config.addresses import HostPort, RedisAddress
from ff_proxy.config.declare import Mode, Option, build, missing
from ff_proxy.config.records import ROLES, ModeOptions
from ff_proxy.config.secret_strength import ENOUGH_BITS, guessing_bits
from ff_proxy.config.settings import Settings
from ff_proxy.config.spelling import near_miss
from ff_proxy.model.keys import Secret
from ff_proxy.model.redis import Topology

GO_DEFAULT_SECRET: Final = "secret"  # noqa: S105  (the published default of the Go proxy, which must be warned about)

_NEEDED: Final = {
    Mode.ONLINE: " to connect to Harness",
    Mode.GENERATE: " to connect to Harness, which generate-offline-config does even if offline is set",
    Mode.REPLICA: " by read-replica, which serves from there",
}
# Set if browsers, or clients behind another proxy, reach the port.
_FOR_OUTSIDE: Final = ("cors-allowed-origins", "trusted-proxies")
_SERVICES: Final = ("admin-service", "client-service", "metric-service", "sdk-base-url", "sdk-events-url")
# Variables that Kubernetes sets for every Service of the namespace.
_KUBERNETES_VARIABLE: Final = re.compile(
    r"_SERVICE_HOST$|_SERVICE_PORT(_|$)|_PORT(_\d+_(TCP|UDP|SCTP)(_|$)|$)"
)


def mode_of(settings: Settings) -> Mode:
    """The mode that the options choose."""
    return build(ModeOptions, settings).mode


def missing_options(settings: Settings) -> list[tuple[Option[Any], str]]:
    """The options that the mode requires but that are not set, and why each is required."""
    mode = mode_of(settings)
    return [(option, reason or _NEEDED.get(mode, "")) for option, reason in missing(ROLES[mode], settings)]


def problems(settings: Settings) -> list[str]:
    """What makes the options invalid, alone or combined; each problem starts with the name of an option."""
    if settings.given("proxy-key"):
        # Other differences of a version 2 configuration are not mistakes.
        instead = "account-identifier, org-identifier, admin-service-token and api-keys"
        return [f"proxy-key: not supported yet; use {instead}"]
    return [*settings.problems, *_missing_problems(settings), *_combinations(settings)]


def _missing_problems(settings: Settings) -> Iterator[str]:
    if settings.inputs.line.has_unknown_flags:
        return  # a missing one may be the mistyped one, which is reported already
    for option, reason in missing_options(settings):
        yield f"{option.flag}: required{reason} (flag -{option.flag} or environment variable {option.env})"


def _combinations(settings: Settings) -> Iterator[str]:
    yield from _mode_problems(settings)
    if mode_of(settings) is not Mode.GENERATE:
        yield from _serving_problems(settings)
        yield from _store_problems(settings)


def warnings(settings: Settings) -> Iterator[str]:
    """What works but deserves attention."""
    yield from settings.warnings
    yield from _near_misses(settings)
    mode = mode_of(settings)
    for setting in settings:
        if setting.option.ignored and settings.given(setting.option.flag):
            yield f"{setting.option.flag} is ignored: it is accepted only for compatibility"
    if mode in {Mode.ONLINE, Mode.GENERATE}:
        yield from _upstream_warnings(settings)
    if mode is not Mode.GENERATE:
        yield from _security_warnings(settings, mode)
        yield from _store_warnings(settings)


def _near_misses(settings: Settings) -> Iterator[str]:
    options = [setting.option for setting in settings]
    flags = {name for option in options for name in (option.env, option.env_file) if name}
    for name in settings.inputs.environ:
        known = None if name in flags or _KUBERNETES_VARIABLE.search(name) else near_miss(name, flags)
        if known is not None:
            yield f"environment variable {name} is not an option; did you mean {known}?"


def _upstream_warnings(settings: Settings) -> Iterator[str]:
    for setting in settings:
        flag = setting.option.flag
        if flag not in _SERVICES or not settings.given(flag):
            continue
        chosen, default = urlsplit(str(setting.value)), urlsplit(str(setting.option.default))
        if str(chosen.hostname).endswith("harness.io") and chosen.path != default.path:
            yield f"{flag} is {setting.value}, but Harness's path is {default.path}: is the path right?"


def _mode_problems(settings: Settings) -> Iterator[str]:
    if settings["read-replica"]:
        for other in ("offline", "generate-offline-config"):
            if settings[other]:
                yield f"read-replica: cannot be combined with {other}"


def _serving_problems(settings: Settings) -> Iterator[str]:
    if settings.given("tls-client-ca") and not settings["tls-enabled"]:
        yield "tls-client-ca: has no effect without tls-enabled"
    delay, deadline = settings["shutdown-delay"], settings["shutdown-deadline"]
    if delay > deadline:
        yield f"shutdown-delay: must not be longer than shutdown-deadline ({deadline:g} s)"
    address: HostPort | None = settings["admin-address"]
    if address is None:
        return
    if not address.is_loopback and not settings.given("admin-token"):
        yield "admin-token: required, since admin-address is not loopback"
    if settings.given("admin-address") and address.port:
        for flag in ("port", "prometheus-port"):
            if settings[flag] == address.port:
                yield f"admin-address: port {address.port} is taken by {flag}"


def _store_problems(settings: Settings) -> Iterator[str]:
    address: RedisAddress | None = settings["redis-address"]
    if address is None or address.topology is not Topology.CLUSTER:
        return
    if settings["redis-db"] if settings.given("redis-db") else address.database:
        yield "redis-db: must be 0 for several addresses: a Cluster has no other database"


def _security_warnings(settings: Settings, mode: Mode) -> Iterator[str]:
    secret: Secret | None = settings["auth-secret"]
    if settings["bypass-auth"]:
        yield "bypass-auth is on: anyone who can reach the port can read every environment"
    if secret is not None and secret.reveal() == GO_DEFAULT_SECRET:
        yield "auth-secret is the published default of the Go proxy: anyone can forge tokens"
    elif secret is not None and guessing_bits(secret.reveal()) < ENOUGH_BITS:
        yield (
            "auth-secret can be guessed, since it is short or made of well-known words: anyone with a token "
            "can try offline, then forge others; use 32 random bytes, such as openssl rand -hex 32 prints"
        )
    stored = settings.given("redis-address") or settings.given("data-dir")
    if secret is None and mode is Mode.OFFLINE and not stored:
        yield (
            "auth-secret is not set: tokens are signed with a secret derived from the key hashes in "
            "config-dir, so anyone who can read those can forge tokens"
        )
    outside = [flag for flag in _FOR_OUTSIDE if settings.given(flag) and settings[flag]]
    if outside and settings["prometheus-port"] in {None, settings["port"]} and _listens_beyond(settings):
        yield (
            f"prometheus-port is not set: anyone who reaches port {settings['port']} can read /metrics, "
            f"and by {' and '.join(outside)} those are not only SDKs of this network"
        )
    unused = [flag for flag in ("tls-cert", "tls-key") if settings.given(flag)]
    if unused and not settings["tls-enabled"]:
        yield f"tls-enabled is off: serving without TLS, {' and '.join(unused)} unused"


def _listens_beyond(settings: Settings) -> bool:
    """Whether others than this machine can connect."""
    host: str | Path | None = settings["host"]
    return not isinstance(host, Path) and (host is None or not HostPort(host, 1).is_loopback)


def _store_warnings(settings: Settings) -> Iterator[str]:
    if settings.given("redis-address"):
        if settings.given("data-dir"):
            yield "data-dir is not used, since redis-address is set"
        return
    names = ("redis-username", "redis-password", "redis-db", "redis-prefix")
    unused = [flag for flag in names if settings.given(flag)]
    if unused:
        yield f"redis-address is not set: {', '.join(unused)} unused"
