"""What SDKs meet, declared: addresses, TLS, limits, tokens, the form of answers, and shutdown."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ff_proxy.config import value_types as kinds
from ff_proxy.config.addresses import HostPort, Network
from ff_proxy.config.declare import (
    Option,
    Status,
    group,
    option,
    required,
    switched,
    untrimmed_secret,
    value_of,
    whether_given,
)
from ff_proxy.config.sections import OPERATION, SECURITY, SERVING
from ff_proxy.config.value_types import MEBIBYTE, AccessLog, JsonValues
from ff_proxy.model.keys import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsOptions:
    """HTTPS for SDKs; with ``client_ca`` they must show a certificate of that authority."""

    section: ClassVar[str] = SERVING

    certificate: Path = required(
        kinds.PATH,
        "Certificate chain in PEM; read again when the file changes",
        name="tls-cert",
        reloadable=True,
    )
    key: Path = required(
        kinds.PATH, "Private key in PEM; read again when the file changes", name="tls-key", reloadable=True
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
    """``max_connections`` at a time, ``None`` for what the limit of open files allows.

    Bodies and ``memory_budget`` in bytes (``None``: derived from the memory there is), ``idle_timeout`` in
    seconds.
    """

    section: ClassVar[str] = SERVING

    max_connections: int | None = option(
        kinds.zero_for_none(kinds.whole_number(0)),
        None,
        "Most connections at a time, streams included; 0 derives it from the limit of open files",
        reloadable=True,
    )
    max_body_size: int = option(
        kinds.SIZE,
        64 * MEBIBYTE,
        "Largest request body, in bytes or with KiB, MiB or GiB after the number",
        reloadable=True,
    )
    idle_timeout: float = option(
        kinds.seconds(1),
        620.0,
        "Seconds for which a connection may be idle; keep it above that of the load balancer in front",
        reloadable=True,
    )
    memory_budget: int | None = option(
        kinds.zero_for_none(kinds.SIZE),
        None,
        "Memory for caches and queues together; 0: a quarter of the memory or of the container's limit, "
        "at least 256 MiB",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenOptions:
    """How tokens are signed and whether they are checked; no ``secret``: one of our own.

    See spec/behaviour#token-secrets.

    ``untrimmed_secret`` is ``secret`` with the white space that was given around it, if there was any: the Go
    proxy signed with that. ``account`` is claimed where an environment's own account is not known.
    """

    section: ClassVar[str] = SECURITY

    secret: Secret | None = option(
        kinds.SECRET,
        None,
        "Signs the tokens that SDKs get; without it the proxy makes one, and keeps it where it has a store",
        name="auth-secret",
    )
    untrimmed_secret: Secret | None = untrimmed_secret("auth-secret")
    bypass: bool = option(
        kinds.BOOLEAN,
        False,
        "Do not check tokens: whoever reaches the port can read every environment",
        name="bypass-auth",
    )
    account: str = value_of("account-identifier", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class AbuseOptions:
    """What protects the proxy from its clients (spec/behaviour#abuse-limits)."""

    section: ClassVar[str] = SECURITY

    rate_limit: bool = option(
        kinds.ON_OFF,
        True,
        "Limit failing requests per client address and per key",
        name="auth-rate-limit",
        status=Status.PENDING,
        reloadable=True,
    )
    trusted_proxies: tuple[Network, ...] = option(
        kinds.NETWORKS,
        (),
        "Addresses or networks of proxies in front, whose X-Forwarded-For is believed, with commas between",
        status=Status.PENDING,
        reloadable=True,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminOptions:
    """Where the status page and admin API listen (``None``: nowhere), and the token that callers must show.

    A busy address is fatal only if it is ``explicit``, that is, somebody chose it (spec/behaviour#options).
    """

    section: ClassVar[str] = SECURITY

    address: HostPort | None = option(
        kinds.ADMIN_ADDRESS,
        HostPort("127.0.0.1", 7001),
        "Address of the status page and admin API, or off; other than loopback needs admin-token",
        name="admin-address",
        status=Status.PENDING,
    )
    token: Secret | None = option(
        kinds.SECRET,
        None,
        "Token that the status page and admin API ask for",
        name="admin-token",
        status=Status.PENDING,
        reloadable=True,
    )
    explicit: bool = whether_given("admin-address")


@dataclass(frozen=True, slots=True, kw_only=True)
class ShutdownOptions:
    """Seconds after the signal: still accepting until ``delay``, ended by ``deadline``.

    See spec/behaviour#shutdown.
    """

    section: ClassVar[str] = OPERATION

    delay: float = option(
        kinds.seconds(),
        3.0,
        "Seconds after the signal to stop during which connections are still accepted, "
        "while load balancers take notice",
        name="shutdown-delay",
    )
    deadline: float = option(
        kinds.seconds(),
        9.0,
        "Seconds after the signal to stop by which everything has ended, shutdown-delay included",
        name="shutdown-deadline",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingOptions:
    """What SDKs meet: addresses, limits, tokens and the form of answers.

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
        "Path below which everything is served too, such as /feature-flags",
    )
    workers: int = option(
        kinds.whole_number(1, 1024),
        1,
        "Processes that serve SDKs; with more than one, a further one talks to Harness",
    )
    tls: TlsOptions | None = switched(
        TlsOptions,
        Option(
            "tls-enabled",
            kinds.BOOLEAN,
            False,
            "Serve HTTPS; needs tls-cert and tls-key",
            section=SERVING,
        ),
    )
    cors_allowed_origins: tuple[str, ...] = option(
        kinds.ORIGINS,
        ("*",),
        "Origins whose pages may call the proxy, with commas between; https://*.example.com: all below it",
        reloadable=True,
    )
    limits: LimitOptions = group(LimitOptions)
    and_rules: bool = option(
        kinds.BOOLEAN,
        True,
        "Evaluate target groups with their AND rules, and send these to SDKs that ask with rules=v2",
    )
    json_values: JsonValues = option(
        kinds.JSON_VALUES,
        JsonValues.PLAIN,
        "Form of a JSON flag's value in evaluations; escaped: encoded once more, as the Go proxy does",
    )
    tokens: TokenOptions = group(TokenOptions)
    abuse: AbuseOptions = group(AbuseOptions)
    admin: AdminOptions = group(AdminOptions)
    prometheus_port: int | None = option(
        kinds.PORT,
        None,
        "Port of its own for Prometheus; without it /metrics is on port",
        section=OPERATION,
    )
    access_log: AccessLog = option(
        kinds.ACCESS_LOG,
        AccessLog.ERRORS,
        "Which requests are logged: none, those answered with an error, or all",
        section=OPERATION,
        status=Status.PENDING,
        reloadable=True,
    )
    shutdown: ShutdownOptions = group(ShutdownOptions)

    @property
    def metrics_port(self) -> int | None:
        """The port of Prometheus' own, ``None`` if ``/metrics`` is on ``port`` alone."""
        return None if self.prometheus_port == self.port else self.prometheus_port
