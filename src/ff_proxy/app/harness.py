"""The backend of online mode: a store that is kept in step with Harness."""

import ssl
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from secrets import token_hex

from ff_proxy import __version__
from ff_proxy.api.ports import LoadedEnvironments
from ff_proxy.app.backend import Backend, Facets, Source
from ff_proxy.app.ingest import make_forwarding
from ff_proxy.app.member import Member, open_sole_member
from ff_proxy.app.observability import make_trust
from ff_proxy.app.options_reload import KEY_FLAGS, SERVICE_TOKEN_FLAGS, upstream_changes
from ff_proxy.app.process import ProcessContext
from ff_proxy.app.shared_runtime import SharedRuntime
from ff_proxy.config.records import (
    OnlineOptions,
    RedisStoreOptions,
    StoreOptions,
    UpstreamOptions,
)
from ff_proxy.ipc import CountedTargets
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.store.protocol import StoreFacets
from ff_proxy.upstream.admin import AdminApi
from ff_proxy.upstream.client import ClientApi
from ff_proxy.upstream.context import Schedule, SyncIntervals, UpstreamContext
from ff_proxy.upstream.credentials import EnvironmentDirectory
from ff_proxy.upstream.http import HttpTransport
from ff_proxy.upstream.key_checks import KeyChecker
from ff_proxy.upstream.outbound_proxy import OutboundProxies, outbound_proxies
from ff_proxy.upstream.posts import HarnessSink
from ff_proxy.upstream.responses import Caller
from ff_proxy.upstream.service import Upstream


@dataclass(frozen=True, slots=True)
class Apis:
    """The two APIs of Harness, and the schedule that they are called by."""

    client: ClientApi
    admin: AdminApi
    schedule: Schedule


@asynccontextmanager
async def open_apis(options: UpstreamOptions, context: ProcessContext) -> AsyncIterator[Apis]:
    """The APIs, ready to be called; raises ``StartupError``."""
    telemetry, clock = context.telemetry, context.clock
    proxies, warnings = outbound_proxies(context.environ)
    for warning in warnings:
        telemetry.logger("upstream").warning(warning)
    urls = (
        options.client_service,
        options.sdk_base_url,
        options.metric_service,
        options.admin_service,
        proxies.http,
        proxies.https,
    )
    trust = make_trust(context, needed=any(url.lower().startswith("https:") for url in urls))
    async with (context.transport or _network)(trust, proxies) as transport:
        caller = Caller(transport, telemetry)
        client = ClientApi(
            caller,
            client_service=options.client_service,
            base_url=options.sdk_base_url,
            metric_service=options.metric_service,
            version=__version__,
        )
        admin = AdminApi(
            caller,
            service=options.admin_service,
            token=options.admin_token,
            account=options.account,
            organization=options.organization,
        )
        yield Apis(client, admin, Schedule(clock, context.random))


def _open_member(
    options: StoreOptions, context: ProcessContext, runtime: SharedRuntime | None
) -> AbstractAsyncContextManager[Member]:
    if not isinstance(options, RedisStoreOptions):
        return open_sole_member(options, context, runtime)
    # Its client costs megabytes that others need not pay.
    from ff_proxy.app.redis import open_fleet_member  # noqa: PLC0415  (see above)

    # A sync process that is started again keeps its leases by the name that it shares with its workers.
    return open_fleet_member(options, context, token_hex(16) if runtime is None else runtime.member)


def _network(trust: ssl.SSLContext, proxies: OutboundProxies) -> HttpTransport:
    return HttpTransport(f"ff-proxy/{__version__}", trust, proxies)


async def open_harness(
    options: OnlineOptions,
    context: ProcessContext,
    stack: AsyncExitStack,
    *,
    runtime: SharedRuntime | None = None,
) -> Backend[StoreFacets]:
    """The store that the options name, kept in step with Harness; with ``runtime`` for the workers there."""
    member = await stack.enter_async_context(_open_member(options.store, context, runtime))
    apis = await stack.enter_async_context(open_apis(options.upstream, context))
    store: StoreFacets = member.store
    if runtime is not None:
        targets = CountedTargets(store.targets, runtime.generations)
        store = Facets(store.configs, targets, store.usage, store.registrations, store.secrets)

    def follow(loaded: LoadedEnvironments) -> Source:
        return _source(options, member, store, apis, loaded, context)

    return Backend(
        store=store,
        freshness=member.freshness,
        follow=follow,
        members=member.fleet,
    )


def _source(
    options: OnlineOptions,
    member: Member,
    store: StoreFacets,
    apis: Apis,
    loaded: LoadedEnvironments,
    context: ProcessContext,
) -> Source:
    directory = EnvironmentDirectory()
    upstream = Upstream(
        UpstreamContext(
            api=apis.client,
            admin=apis.admin,
            configs=store.configs,
            targets=store.targets,
            telemetry=context.telemetry,
            schedule=apis.schedule,
            intervals=SyncIntervals(
                stream=options.upstream.stream_enabled,
                poll=options.upstream.flag_poll_interval,
                keys=options.upstream.key_refresh_interval,
                targets=options.upstream.target_poll_interval or 0.0,
            ),
        ),
        options.upstream.api_keys,
        directory,
        member.leadership,
        served=lambda environment: environment in loaded.names,
    )
    if context.reload is not None:
        context.reload.add(KEY_FLAGS, upstream_changes(lambda new: upstream.configure(new.api_keys)))
        context.reload.add(
            SERVICE_TOKEN_FLAGS, upstream_changes(lambda new: apis.admin.authenticate_with(new.admin_token))
        )

    def sends(environment: EnvironmentId) -> bool:
        return member.leadership.leads(environment) and not upstream.given_up(environment)

    forwarding = make_forwarding(
        options,
        store,
        HarnessSink(apis.client, directory),
        sends,
        upstream.removed,
        context,
    )
    return Source(
        services=[upstream, *forwarding.services, *member.services(upstream)],
        phases=forwarding.phases,
        readiness=lambda: member.readiness(upstream),
        environments=upstream.environments,
        settled=upstream.settled,
        key_checker=KeyChecker(
            apis.client,
            upstream.accept,
            clock=context.clock,
            telemetry=context.telemetry,
            budget=context.shares.keys // 2,
        ),
        expected=lambda: loaded.names & upstream.environments(),
        standalone=member.standalone,
        sent=forwarding.sent,
    )
