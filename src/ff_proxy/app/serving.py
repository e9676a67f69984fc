"""Everything that SDKs meet, put together: the same for every mode that serves."""

import random
import socket
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass

from ff_proxy.app.memory import memory_shares
from ff_proxy.config.records import ServingOptions
from ff_proxy.config.value_types import JsonValues
from ff_proxy.model.clock import Clock
from ff_proxy.model.keys import EnvironmentId, Secret
from ff_proxy.model.readiness import Readiness
from ff_proxy.snapshots.registry import SnapshotRegistry
from ff_proxy.snapshots.snapshot import CompileOptions
from ff_proxy.store.protocol import StatusReader, Targets
from ff_proxy.telemetry import Telemetry
from ff_proxy.usage.intake import Intake
from ff_proxy.web.access import Access, OpenAccess, TokenAccess
from ff_proxy.web.app import make_app
from ff_proxy.web.auth import Authenticator
from ff_proxy.web.bodies import Bodies
from ff_proxy.web.cors import Cors
from ff_proxy.web.counts import Counts
from ff_proxy.web.edge import Edge
from ff_proxy.web.entrance import Entrance
from ff_proxy.web.evaluations import Evaluations
from ff_proxy.web.health import Gate, Health
from ff_proxy.web.hub import Hub
from ff_proxy.web.limits import Limits, connection_limit
from ff_proxy.web.needs import Freshness, KeyChecker, Registrar
from ff_proxy.web.resources import Resources
from ff_proxy.web.secret import DerivedSecrets
from ff_proxy.web.server import Listener, bind
from ff_proxy.web.tls import Tls, TlsFiles
from ff_proxy.web.tokens import Tokens
from ff_proxy.web.usage_posts import UsagePosts


def nothing_bound(_: EnvironmentId) -> Collection[Secret]:
    """No secrets: of a store that is not shared."""
    return ()


@dataclass(frozen=True, slots=True)
class Needs:
    """What differs from mode to mode.

    ``secret`` is asked once, after the port is bound, and may take as long as it needs. ``keyless`` says
    whether tokens that name no key are taken; ``environments`` are the ones that ``/health`` speaks of;
    ``others`` are secrets whose tokens are taken as well, and ``bound`` those that are good for one
    environment only; ``derived`` ones sign while ``secret`` is awaited, or where there is none.
    """

    secret: Callable[[], Awaitable[Secret]] | None
    keyless: bool
    targets: Targets
    statuses: StatusReader
    checker: KeyChecker
    registrar: Registrar
    intake: Intake
    freshness: Freshness
    readiness: Callable[[], Readiness]
    environments: Callable[[], Collection[EnvironmentId]]
    others: Callable[[], Collection[Secret]] = tuple
    bound: Callable[[EnvironmentId], Collection[Secret]] = nothing_bound
    derived: DerivedSecrets | None = None


@dataclass(frozen=True, slots=True)
class Serving:
    """The listener, bound already, what is behind it, and how far it has come."""

    listener: Listener
    tls: Tls | None
    hub: Hub
    entrance: Entrance
    snapshots: SnapshotRegistry
    readiness: Callable[[], Readiness]


def compile_options(options: ServingOptions) -> CompileOptions:
    """How snapshots are compiled."""
    return CompileOptions(and_rules=options.and_rules, escape_json=options.json_values is JsonValues.ESCAPED)


def make_serving(
    options: ServingOptions,
    snapshots: SnapshotRegistry,
    needs: Needs,
    clock: Clock,
    telemetry: Telemetry,
    *,
    listening: socket.socket | None = None,
) -> Serving:
    """Build everything behind ``listening``, by default behind the port; raises ``StartupError``."""

    def readiness() -> Readiness:
        return telemetry.failures.merge_into(entrance.merge_into(needs.readiness()))

    shares = memory_shares(options)
    untrimmed = options.tokens.untrimmed_secret
    kept = () if untrimmed is None else (untrimmed,)
    tokens = Tokens(
        None,
        clock,
        keyless=needs.keyless,
        others=lambda: (*needs.others(), *kept),
        bound=needs.bound,
        derived=needs.derived,
        awaiting=needs.secret is not None,
        account=options.tokens.account,
        budget=shares.tokens,
        dropped=telemetry.dropped("tokens"),
    )
    entrance = Entrance(
        tokens, needs.secret, TokenAccess(tokens, snapshots), at_once=needs.derived is not None
    )
    access: Access = OpenAccess(snapshots) if options.tokens.bypass else entrance
    hub = Hub(snapshots, clock, telemetry, random.SystemRandom())
    cors = Cors(options.cors_allowed_origins)
    counts = Counts(telemetry, snapshots)
    gate = Gate()
    bodies = Bodies(options.limits.max_body_size)
    resources = Resources(
        access, needs.targets, needs.freshness, Evaluations(telemetry, budget=shares.evaluations), telemetry
    )
    app = make_app(
        resources,
        Authenticator(entrance, snapshots, needs.checker, needs.targets, needs.registrar, bodies, telemetry),
        UsagePosts(access, needs.freshness, needs.intake, bodies, telemetry),
        Health(needs.environments, needs.statuses, readiness, gate, counts, telemetry),
        cors,
        counts,
        clock,
        telemetry,
    )
    limits = Limits(connection_limit(options.limits.max_connections or 0, telemetry.logger("web")))
    edge = Edge(
        resources,
        access,
        needs.freshness,
        hub,
        app,
        cors,
        counts,
        snapshots,
        clock,
        telemetry,
        limits,
        shares,
    )
    secured = make_tls(options, clock, telemetry)
    own = bind(options.port) if listening is None else listening
    listener = Listener(edge, own, gate, clock, telemetry, tls=secured)
    return Serving(listener, secured, hub, entrance, snapshots, readiness)


def make_tls(options: ServingOptions, clock: Clock, telemetry: Telemetry) -> Tls | None:
    """TLS as the options want it; raises ``StartupError`` or ``ConfigError``."""
    tls = options.tls
    if tls is None:
        return None
    return Tls(TlsFiles(tls.certificate, tls.key, tls.client_ca), clock, telemetry)
