"""The server that SDKs call, and everything behind it: the same for every role that serves."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Final

from ff_proxy.api.access import Access, OpenAccess, TokenAccess
from ff_proxy.api.auth import Authenticator
from ff_proxy.api.auth_gate import AuthGate
from ff_proxy.api.evaluations import Evaluations
from ff_proxy.api.health import Health, StickyReadiness
from ff_proxy.api.key_lookup import KeyAttempts, KeyLookup
from ff_proxy.api.metrics_page import MetricsPage
from ff_proxy.api.ofrep import OfrepEvaluations
from ff_proxy.api.ofrep_streams import OfrepStreamRequests, StreamTickets
from ff_proxy.api.ofrep_usage import OfrepUsage
from ff_proxy.api.ports import Dependencies, SpanSink
from ff_proxy.api.reads import Reads
from ff_proxy.api.request_metrics import RequestMetrics
from ff_proxy.api.request_traces import RequestTraces
from ff_proxy.api.routes import API_PREFIX, make_routes
from ff_proxy.api.stream_requests import StreamRequests
from ff_proxy.api.tokens import Tokens
from ff_proxy.api.usage_posts import UsagePosts
from ff_proxy.app.options_reload import SERVING_FLAGS, TLS_FLAGS, Apply
from ff_proxy.app.process import ProcessContext, last_step_seconds
from ff_proxy.app.serving_changes import ServingChanges, make_access_log, make_limits
from ff_proxy.app.tls import make_tls, tls_changes, tls_in_force
from ff_proxy.config.records import ServingOptions, ShutdownOptions
from ff_proxy.config.value_types import JsonValues
from ff_proxy.http.buffer_budget import BufferBudget
from ff_proxy.http.client_address import ClientAddresses
from ff_proxy.http.cors import Cors
from ff_proxy.http.dispatcher import Dispatcher
from ff_proxy.http.failure_limit import FailureLimit
from ff_proxy.http.response_cache import ResponseCache
from ff_proxy.http.routes import Routes
from ff_proxy.http.server import HttpServer
from ff_proxy.http.server_state import ServerState
from ff_proxy.http.sockets import Listening
from ff_proxy.model.readiness import Readiness
from ff_proxy.runtime.services import Phase, Service
from ff_proxy.snapshots.environment_metrics import EnvironmentMetrics
from ff_proxy.snapshots.snapshot import CompileOptions
from ff_proxy.streams.hub import Hub
from ff_proxy.streams.list_reads import ListReads

_SERIAL_BITS: Final = 40


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
        changes: apply new options while it runs, by their flags.
    """

    server: HttpServer
    auth_gate: AuthGate
    services: Sequence[Service]
    environment_metrics: EnvironmentMetrics
    phases: Sequence[Phase]
    reloads: Sequence[Callable[[], object]]
    readiness: Callable[[], Readiness]
    changes: Sequence[tuple[Collection[str], Apply]]


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

    readiness = StickyReadiness(current, snapshots)

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
        given_up=needs.given_up,
        account=options.tokens.account,
        serials=count(context.random.getrandbits(_SERIAL_BITS)),
        budget=shares.tokens,
        dropped=telemetry.dropped("tokens"),
    )
    auth_gate = AuthGate(
        tokens,
        signing.secret,
        TokenAccess(tokens, snapshots, needs.given_up),
        at_once=signing.derived is not None,
    )
    access: Access = OpenAccess(snapshots) if options.tokens.bypass else auth_gate
    lists = ListReads(shares.events, telemetry.dropped("list reads"))
    hub = Hub(snapshots, lists, clock, telemetry, context.random)
    environment_metrics = EnvironmentMetrics(snapshots, needs.statuses, clock, telemetry)
    request_metrics = RequestMetrics(
        telemetry, snapshots, make_access_log(options.access_log, clock, telemetry)
    )
    stream_requests = StreamRequests(access, needs.freshness, hub, snapshots)
    auth_gate.listen(stream_requests.retry_waiting)
    reads = Reads(
        access,
        needs.targets,
        needs.freshness,
        Evaluations(telemetry, budget=shares.evaluations // 2),
        snapshots,
        lists,
        telemetry,
    )
    attempts = KeyAttempts(clock, budget=shares.keys // 4, limited=options.abuse.rate_limit)
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
        metrics=page if options.metrics_port is None else None,
    )
    addresses = ClientAddresses(options.abuse.trusted_proxies)
    failures = FailureLimit(clock, budget=shares.keys // 4, limited=options.abuse.rate_limit)
    dispatcher = Dispatcher(
        Routes(routes, (options.base_path, API_PREFIX)),
        ResponseCache(shares.responses, telemetry.dropped("responses")),
        Cors(options.cors_allowed_origins),
        request_metrics if spans is None else RequestTraces(request_metrics, spans, clock),
        clock,
        telemetry,
        addresses=addresses,
        failures=failures,
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
    tls = make_tls(tls_in_force(options, context.reload), clock, telemetry)
    server = HttpServer(state, listening, clock, telemetry, tls=tls)
    changes = ServingChanges(
        present=options,
        state=state,
        request_metrics=request_metrics,
        addresses=addresses,
        failures=failures,
        attempts=attempts,
        context=context,
        loop=asyncio.get_running_loop(),
    )
    secured = () if tls is None else (tls,)
    tls_change = tls_changes(options) if tls is None else tls_changes(options, tls.use)
    return Serving(
        server=server,
        auth_gate=auth_gate,
        services=[auth_gate, hub, *secured],
        environment_metrics=environment_metrics,
        phases=_phases(options.shutdown, server, hub),
        reloads=[one.reload for one in secured],
        readiness=readiness,
        changes=((SERVING_FLAGS, changes), (TLS_FLAGS, tls_change)),
    )


def _phases(options: ShutdownOptions, server: HttpServer, hub: Hub) -> Sequence[Phase]:
    async def end_streams(seconds: float) -> None:
        server.drain_connections()
        if server.state.admitted:  # without connections nobody would notice the delay
            await hub.drain(seconds, server.stop_accepting)

    async def finish_requests(seconds: float) -> None:
        server.stop_accepting()
        await server.finish(seconds)

    return (
        Phase("streams", options.delay, end_streams),
        Phase("requests", last_step_seconds(options), finish_requests),
    )
