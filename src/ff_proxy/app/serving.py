"""The server that SDKs call, and everything behind it: the same for every role that serves."""

import asyncio
import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Final

from ff_proxy.api.access import Access, OpenAccess, TokenAccess
from ff_proxy.api.access_log import AccessLog
from ff_proxy.api.auth import Authenticator
from ff_proxy.api.auth_gate import AuthGate
from ff_proxy.api.evaluations import Evaluations
from ff_proxy.api.health import Health
from ff_proxy.api.key_attempts import KeyAttempts
from ff_proxy.api.key_lookup import KeyLookup
from ff_proxy.api.leases import SnapshotLeases
from ff_proxy.api.metrics_page import MetricsPage
from ff_proxy.api.ofrep import OfrepEvaluations
from ff_proxy.api.ofrep_streams import OfrepStreamRequests, StreamTickets
from ff_proxy.api.ofrep_usage import OfrepUsage
from ff_proxy.api.ports import Dependencies, SpanSink
from ff_proxy.api.readiness import LastingReadiness
from ff_proxy.api.reads import Reads
from ff_proxy.api.request_metrics import RequestMetrics
from ff_proxy.api.request_traces import RequestTraces
from ff_proxy.api.routes import API_PREFIX, make_routes
from ff_proxy.api.stream_requests import StreamRequests
from ff_proxy.api.tokens import Tokens
from ff_proxy.api.usage_posts import UsagePosts
from ff_proxy.app.process import ProcessContext, last_step_seconds
from ff_proxy.config.records import (
    GenerateOptions,
    LimitOptions,
    RoleOptions,
    ServingOptions,
    ShutdownOptions,
)
from ff_proxy.config.value_types import AccessLog as AccessLogMode
from ff_proxy.config.value_types import JsonValues
from ff_proxy.http.buffer_budget import BufferBudget
from ff_proxy.http.client_address import ClientAddresses
from ff_proxy.http.cors import Cors
from ff_proxy.http.dispatcher import Dispatcher
from ff_proxy.http.failure_limit import FailureLimit
from ff_proxy.http.limits import Limits, connection_limit
from ff_proxy.http.response_cache import ResponseCache
from ff_proxy.http.routes import Routes
from ff_proxy.http.server import HttpServer
from ff_proxy.http.server_state import ServerState
from ff_proxy.http.sockets import Listening
from ff_proxy.http.tls import Tls, TlsFiles
from ff_proxy.http.token_buckets import TokenBuckets
from ff_proxy.model.clock import Clock
from ff_proxy.model.readiness import Readiness
from ff_proxy.runtime.services import Phase, Service
from ff_proxy.snapshots.environment_metrics import EnvironmentMetrics
from ff_proxy.snapshots.snapshot import CompileOptions
from ff_proxy.streams.hub import Hub
from ff_proxy.streams.list_reads import ListReads
from ff_proxy.telemetry import Telemetry

_SERIAL_BITS: Final = 40

# Thousands of SDKs behind one address may come with tokens that are good no longer, and have to be told so.
_FAILURES_AT_ONCE: Final = 3000.0
_FAILURES_PER_SECOND: Final = 50.0
# One in so many connections is for others than the client that has most of them.
_LEFT_TO_OTHERS: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """The server, bound but not started, and what it needs to be run.

    Args:
        server: the essential service.
        auth_gate: opens when the secret that signs tokens is known.
        services: run beside the server.
        environment_metrics: the service that one process of a proxy runs for all of them.
        phases: end streams and requests at shutdown.
        reloads: read certificates again.
        readiness: how far everything has come.
        apply: takes up new options about origins and limits, in any thread.
    """

    server: HttpServer
    auth_gate: AuthGate
    services: Sequence[Service]
    environment_metrics: EnvironmentMetrics
    phases: Sequence[Phase]
    reloads: Sequence[Callable[[], object]]
    readiness: Callable[[], Readiness]
    apply: Callable[[RoleOptions], Collection[str]]


def compile_options(options: ServingOptions) -> CompileOptions:
    """How snapshots are compiled."""
    return CompileOptions(and_rules=options.and_rules, escape_json=options.json_values is JsonValues.ESCAPED)


def make_serving(
    options: ServingOptions,
    needs: Dependencies,
    context: ProcessContext,
    listening: Listening,
    spans: SpanSink | None = None,
) -> Serving:
    """Build everything behind ``listening``, with a span of each request for ``spans``.

    Raises ``StartupError``.
    """
    clock, shares, telemetry = context.clock, context.shares, context.telemetry
    snapshots, signing = needs.snapshots, needs.signing

    def current() -> Readiness:
        return telemetry.failures.merge_into(auth_gate.merge_into(needs.readiness()))

    readiness = LastingReadiness(current, snapshots)

    untrimmed = options.tokens.untrimmed_secret
    kept = () if untrimmed is None else (untrimmed,)
    tokens = Tokens(
        None,
        clock,
        keyless=signing.keyless,
        others=lambda: (*signing.others(), *kept),
        bound=signing.bound,
        derived=signing.derived,
        awaiting=signing.secret is not None,
        account=options.tokens.account,
        serials=count(context.random.getrandbits(_SERIAL_BITS)),
        budget=shares.tokens,
        dropped=telemetry.dropped("tokens"),
    )
    auth_gate = AuthGate(
        tokens, signing.secret, TokenAccess(tokens, snapshots), at_once=signing.derived is not None
    )
    access: Access = OpenAccess(snapshots) if options.tokens.bypass else auth_gate
    lists = ListReads(shares.events, telemetry.dropped("list reads"))
    hub = Hub(snapshots, lists, clock, telemetry, context.random)
    environment_metrics = EnvironmentMetrics(snapshots, needs.statuses, clock, telemetry)
    request_metrics = RequestMetrics(telemetry, snapshots, make_access_log(options, clock, telemetry))
    stream_requests = StreamRequests(access, needs.freshness, hub, snapshots)
    auth_gate.listen(stream_requests.look_again)
    reads = Reads(
        access,
        needs.targets,
        needs.freshness,
        Evaluations(telemetry, budget=shares.evaluations // 2),
        SnapshotLeases(snapshots),
        lists,
        telemetry,
    )
    attempts = KeyAttempts(clock, budget=shares.keys // 2, limited=options.abuse.rate_limit)
    keys = KeyLookup(snapshots, needs.key_checker, attempts)
    tickets = StreamTickets(tokens, clock)
    ofrep_usage = OfrepUsage(needs.intake, clock)
    health = Health(
        needs.environments,
        needs.statuses,
        readiness,
        lambda: state.draining,
        environment_metrics,
    )
    page = MetricsPage(telemetry.exposition, request_metrics.fold)
    routes = make_routes(
        reads,
        Authenticator(auth_gate, keys, needs.targets, needs.registrar, telemetry),
        UsagePosts(access, needs.freshness, needs.intake, telemetry),
        stream_requests,
        health,
        OfrepEvaluations(
            keys,
            needs.freshness,
            needs.registrar,
            ofrep_usage,
            tickets,
            telemetry,
            budget=shares.evaluations // 2,
        ),
        OfrepStreamRequests(tickets, snapshots, hub),
        snapshots,
        longest_usage=sys.maxsize,
        metrics=page if options.metrics_port is None else None,
    )
    addresses = ClientAddresses(options.abuse.trusted_proxies)
    dispatcher = Dispatcher(
        Routes(routes, (options.base_path, API_PREFIX)),
        ResponseCache(shares.responses, telemetry.dropped("responses")),
        Cors(options.cors_allowed_origins),
        request_metrics if spans is None else RequestTraces(request_metrics, spans, clock),
        clock,
        telemetry,
        addresses=addresses,
        failures=FailureLimit(
            TokenBuckets(_FAILURES_AT_ONCE, _FAILURES_PER_SECOND, clock, budget=shares.keys // 2)
            if options.abuse.rate_limit
            else None
        ),
        budget=shares.routes,
    )
    state = ServerState(
        dispatcher,
        make_limits(options, telemetry),
        BufferBudget(shares.bodies, telemetry.dropped("bodies")),
        BufferBudget(shares.unsent, telemetry.dropped("unsent")),
        clock,
        telemetry,
        addresses=addresses,
    )
    tls = make_tls(options, clock, telemetry)
    server = HttpServer(state, listening, clock, telemetry, tls=tls)
    loop = asyncio.get_running_loop()

    def apply(changed: RoleOptions) -> Collection[str]:
        assert not isinstance(changed, GenerateOptions)  # noqa: S101  (the role never changes)
        serving = changed.serving
        limits = reloaded_limits(serving, options, telemetry)
        loop.call_soon_threadsafe(dispatcher.allow_origins, Cors(serving.cors_allowed_origins))
        loop.call_soon_threadsafe(state.change_limits, limits)
        return ()

    secured = () if tls is None else (tls,)
    return Serving(
        server=server,
        auth_gate=auth_gate,
        services=[auth_gate, hub, *secured],
        environment_metrics=environment_metrics,
        phases=_phases(options.shutdown, server, hub),
        reloads=[one.reload for one in secured],
        readiness=readiness,
        apply=apply,
    )


def make_limits(options: ServingOptions, telemetry: Telemetry) -> Limits:
    """What the options allow a connection, and all of them together."""
    connections = connection_limit(options.limits.max_connections or 0, telemetry.logger("http"))
    return Limits(
        connections,
        per_peer=connections - connections // _LEFT_TO_OTHERS if options.abuse.rate_limit else 0,
        body_bytes=options.limits.max_body_size,
        idle_seconds=options.limits.idle_timeout,
    )


def reloaded_limits(changed: ServingOptions, present: ServingOptions, telemetry: Telemetry) -> Limits:
    """What ``changed`` allows, as far as it needs no restart: the rest is as in ``present``."""
    limits = divided(changed.limits, present.workers)
    return make_limits(replace(present, limits=limits), telemetry)


def divided(limits: LimitOptions, workers: int) -> LimitOptions:
    """The part of one worker: connections are divided among them."""
    if limits.max_connections is None:
        return limits
    return replace(limits, max_connections=-(-limits.max_connections // workers))


def _phases(options: ShutdownOptions, server: HttpServer, hub: Hub) -> Sequence[Phase]:
    async def end_streams(seconds: float) -> None:
        server.drain_connections()
        if server.state.admitted:  # without connections nobody would notice the delay
            await hub.drain(seconds)

    async def finish_requests(seconds: float) -> None:
        server.stop_accepting()
        await server.finish(seconds)

    return (
        Phase("streams", options.delay, end_streams),
        Phase("requests", last_step_seconds(options), finish_requests),
    )


def make_access_log(options: ServingOptions, clock: Clock, telemetry: Telemetry) -> AccessLog | None:
    """The log of requests that the options want."""
    if options.access_log is AccessLogMode.OFF:
        return None
    everything = options.access_log is AccessLogMode.ALL
    return AccessLog(telemetry.logger("access"), clock, everything=everything)


def make_tls(options: ServingOptions, clock: Clock, telemetry: Telemetry) -> Tls | None:
    """TLS as the options want it; raises ``StartupError`` or ``ConfigError``."""
    tls = options.tls
    if tls is None:
        return None
    return Tls(TlsFiles(tls.certificate, tls.key, tls.client_ca), clock, telemetry)
