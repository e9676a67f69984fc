"""Options about serving SDKs: addresses, TLS, limits, tokens, responses, and shutdown."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ff_proxy.config import value_types as kinds
from ff_proxy.config.addresses import HostPort, Network
from ff_proxy.config.declare import (
    Option,
    Values,
    computed,
    group,
    option,
    required,
    switched,
)
from ff_proxy.config.sections import OPERATION, SECURITY, SERVING
from ff_proxy.config.value_types import MEBIBYTE, AccessLog, JsonValues
from ff_proxy.model.keys import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsOptions:
    """HTTPS for SDKs; with ``client_ca`` they must present a certificate of that authority."""

    section: ClassVar[str] = SERVING

    certificate: Path = required(
        kinds.PATH,
        "Certificate chain in PEM; reloaded when the file changes",
        name="tls-cert",
        reloadable=True,
    )
    key: Path = required(
        kinds.PATH,
        "Private key in PEM; reloaded when the file changes",
        name="tls-key",
        reloadable=True,
    )
    client_ca: Path | None = option(
        kinds.PATH,
        None,
        "Certificate authority in PEM; SDKs must present one of its certificates (mutual TLS)",
        name="tls-client-ca",
        reloadable=True,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitOptions:
    """``max_connections`` is ``None`` to derive it from the open-file limit.

    Sizes are in bytes, ``idle_timeout`` in seconds. A ``memory_budget`` of ``None`` is derived from the
    available memory.
    """

    section: ClassVar[str] = SERVING

    max_connections: int | None = option(
        kinds.zero_for_none(kinds.whole_number(1)),
        None,
        "Most concurrent connections, streams included; 0 derives it from the open-file limit",
        reloadable=True,
    )
    max_body_size: int = option(
        kinds.size(1024),
        64 * MEBIBYTE,
        "Largest request body, in bytes or with a unit: KiB, MiB or GiB; at least 1 KiB",
        reloadable=True,
    )
    idle_timeout: float = option(
        kinds.seconds(1),
        620.0,
        "Seconds a connection may be idle; keep it above the load balancer's idle timeout",
        reloadable=True,
    )
    memory_budget: int | None = option(
        kinds.zero_for_none(kinds.size()),
        None,
        "Total memory for caches and queues; 0: a quarter of the memory or of the container's limit, "
        "at least 256 MiB",
    )


def _untrimmed_secret(values: Values) -> Secret | None:
    text = values.untrimmed("auth-secret")
    return Secret(text) if text != text.strip() else None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenOptions:
    """How tokens are signed and whether they are checked; without ``secret`` the proxy creates one.

    See spec/behaviour#token-secrets.

    ``untrimmed_secret`` is ``secret`` with its surrounding white space, if it had any: the Go proxy signed
    with that. ``account`` is claimed if an environment's own account is unknown.
    """

    section: ClassVar[str] = SECURITY

    secret: Secret | None = option(
        kinds.SECRET,
        None,
        "Secret that signs SDKs' tokens; if not set, the proxy creates one and keeps it in its store",
        name="auth-secret",
    )
    untrimmed_secret: Secret | None = computed(_untrimmed_secret, None, compare=False)
    bypass: bool = option(
        kinds.BOOLEAN,
        False,
        "Do not check tokens: anyone who can reach the port can read every environment",
        name="bypass-auth",
    )
    account: str = computed(lambda values: values["account-identifier"] or "", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class AbuseOptions:
    """Protection from abusive clients (spec/behaviour#abuse-limits)."""

    section: ClassVar[str] = SECURITY

    rate_limit: bool = option(
        kinds.ON_OFF,
        True,
        "Limit failed requests per client address and per key",
        name="auth-rate-limit",
        reloadable=True,
    )
    trusted_proxies: tuple[Network, ...] = option(
        kinds.NETWORKS,
        (),
        "Addresses or networks of reverse proxies whose X-Forwarded-For is trusted, separated by commas",
        reloadable=True,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminOptions:
    """Where the status page and admin API listen (``None``: nowhere), and the token that they require.

    If the address is in use, startup fails only if it is ``explicit``, that is, set by the user
    (spec/behaviour#options).
    """

    section: ClassVar[str] = SECURITY

    address: HostPort | None = option(
        kinds.ADMIN_ADDRESS,
        HostPort("127.0.0.1", 7001),
        "Address of the status page and admin API, or off; requires admin-token unless it is loopback",
        name="admin-address",
    )
    token: Secret | None = option(
        kinds.SECRET,
        None,
        "Token that the status page and admin API require",
        name="admin-token",
        reloadable=True,
    )
    explicit: bool = computed(lambda values: values.given("admin-address"), False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShutdownOptions:
    """Seconds after the signal: the proxy accepts connections until ``delay`` and ends by ``deadline``.

    See spec/behaviour#shutdown.
    """

    section: ClassVar[str] = OPERATION

    delay: float = option(
        kinds.seconds(),
        3.0,
        "Seconds after the stop signal during which connections are still accepted, "
        "so that load balancers can react",
        name="shutdown-delay",
    )
    deadline: float = option(
        kinds.seconds(),
        9.0,
        "Seconds from the stop signal to the end of the process, shutdown-delay included",
        name="shutdown-deadline",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingOptions:
    """Options about serving SDKs.

    ``host`` is an IP address or ``localhost``, the path of a Unix socket, or ``None`` for all interfaces;
    ``base_path`` is empty for none.
    """

    section: ClassVar[str] = SERVING

    port: int = option(kinds.PORT, 7000, "Port for SDKs; 0 lets the system choose one")
    host: str | Path | None = option(
        kinds.HOST,
        None,
        "Address to listen on: an IP address, localhost, or unix:/path; all interfaces if not set",
    )
    base_path: str = option(
        kinds.BASE_PATH,
        "",
        "Additional path prefix for all endpoints, such as /feature-flags",
    )
    workers: int = option(
        kinds.whole_number(1, 1024),
        1,
        "Processes that serve SDKs; if more than one, an additional process connects to Harness",
    )
    tls: TlsOptions | None = switched(
        TlsOptions,
        Option(
            "tls-enabled",
            kinds.BOOLEAN,
            False,
            "Serve HTTPS; requires tls-cert and tls-key",
            section=SERVING,
        ),
    )
    cors_allowed_origins: tuple[str, ...] = option(
        kinds.ORIGINS,
        ("*",),
        "Origins whose pages may call the proxy, separated by commas; https://*.example.com: all subdomains",
        reloadable=True,
    )
    limits: LimitOptions = group(LimitOptions)
    and_rules: bool = option(
        kinds.BOOLEAN,
        True,
        "Evaluate the AND rules of target groups, and send them to SDKs that request rules=v2",
    )
    json_values: JsonValues = option(
        kinds.JSON_VALUES,
        JsonValues.PLAIN,
        "Encoding of a JSON flag's value in evaluations; escaped: encoded twice, as by the Go proxy",
    )
    tokens: TokenOptions = group(TokenOptions)
    abuse: AbuseOptions = group(AbuseOptions)
    admin: AdminOptions = group(AdminOptions)
    prometheus_port: int | None = option(
        kinds.PORT,
        None,
        "Separate port for Prometheus; if not set, /metrics is on port",
        section=OPERATION,
    )
    access_log: AccessLog = option(
        kinds.ACCESS_LOG,
        AccessLog.ERRORS,
        "Which requests are logged: none, those that fail, or all",
        section=OPERATION,
        reloadable=True,
    )
    shutdown: ShutdownOptions = group(ShutdownOptions)

    @property
    def metrics_port(self) -> int | None:
        """The separate port for Prometheus; ``None`` if ``/metrics`` is only on ``port``."""
        return None if self.prometheus_port == self.port else self.prometheus_port
