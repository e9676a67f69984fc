"""Everything that talks to Harness SaaS, put together."""

import os
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from ff_proxy import __version__
from ff_proxy.app.process_setup import make_trust
from ff_proxy.config.records import UpstreamOptions
from ff_proxy.model.clock import Clock
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.store.protocol import ConfigStore, TargetStore
from ff_proxy.telemetry import Telemetry
from ff_proxy.upstream.admin import AdminApi
from ff_proxy.upstream.client import ClientApi
from ff_proxy.upstream.credentials import EnvironmentDirectory
from ff_proxy.upstream.http import HttpTransport
from ff_proxy.upstream.intervals import Schedule, SyncIntervals
from ff_proxy.upstream.key_checks import KeyChecker
from ff_proxy.upstream.leadership import Leadership
from ff_proxy.upstream.outbound_proxy import outbound_proxies
from ff_proxy.upstream.posts import SaasRegistrationSink, SaasUsageSink
from ff_proxy.upstream.responses import Caller
from ff_proxy.upstream.service import Upstream
from ff_proxy.upstream.snapshot_export import SnapshotExporter


@dataclass(frozen=True, slots=True)
class Apis:
    """The two APIs of SaaS, and the clock for their requests."""

    client: ClientApi
    admin: AdminApi
    schedule: Schedule


@asynccontextmanager
async def open_apis(options: UpstreamOptions, clock: Clock, telemetry: Telemetry) -> AsyncIterator[Apis]:
    """The APIs, ready to be called."""
    proxies, warnings = outbound_proxies(os.environ)
    for warning in warnings:
        telemetry.logger("upstream").warning(warning)
    async with HttpTransport(f"ff-proxy/{__version__}", make_trust(telemetry), proxies) as transport:
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
        yield Apis(client, admin, Schedule(clock, clock.sleep, random.SystemRandom()))


@dataclass(frozen=True, slots=True)
class Saas:
    """The service that keeps the store in step, and what others ask of SaaS."""

    upstream: Upstream
    checker: KeyChecker
    usage: SaasUsageSink
    registrations: SaasRegistrationSink


def make_saas(
    options: UpstreamOptions,
    apis: Apis,
    configs: ConfigStore,
    targets: TargetStore,
    clock: Clock,
    telemetry: Telemetry,
    *,
    leadership: Leadership,
    served: Callable[[EnvironmentId], bool],
) -> Saas:
    """Keep ``configs`` and ``targets`` in step with SaaS, as far as this process leads."""
    directory = EnvironmentDirectory()
    intervals = SyncIntervals(
        stream=options.stream_enabled,
        poll=options.flag_poll_interval,
        keys=options.key_refresh_interval,
        targets=options.target_poll_interval or 0.0,
    )
    upstream = Upstream(
        keys=options.api_keys,
        api=apis.client,
        admin=apis.admin,
        configs=configs,
        targets=targets,
        directory=directory,
        telemetry=telemetry,
        schedule=apis.schedule,
        intervals=intervals,
        leadership=leadership,
        served=served,
    )
    return Saas(
        upstream,
        KeyChecker(apis.client, upstream.accept, clock=clock, telemetry=telemetry),
        SaasUsageSink(apis.client, directory),
        SaasRegistrationSink(apis.client, directory),
    )


def make_exporter(apis: Apis, telemetry: Telemetry) -> SnapshotExporter:
    """Fetches everything once."""
    return SnapshotExporter(api=apis.client, admin=apis.admin, telemetry=telemetry, schedule=apis.schedule)
