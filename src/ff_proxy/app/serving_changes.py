"""What a running server takes up of new options: origins, limits, whom it trusts, and what it logs."""

import asyncio
from collections.abc import Collection
from dataclasses import replace
from typing import Final

from ff_proxy.api.access_log import AccessLog
from ff_proxy.api.key_attempts import KeyAttempts
from ff_proxy.api.request_metrics import RequestMetrics
from ff_proxy.app.process import ProcessContext
from ff_proxy.config.records import AbuseOptions, GenerateOptions, LimitOptions, RoleOptions, ServingOptions
from ff_proxy.config.value_types import AccessLog as AccessLogMode
from ff_proxy.http.client_address import ClientAddresses
from ff_proxy.http.cors import Cors
from ff_proxy.http.failure_limit import FailureLimit
from ff_proxy.http.limits import Limits, connection_limit
from ff_proxy.http.server_state import ServerState
from ff_proxy.model.clock import Clock
from ff_proxy.model.token_buckets import TokenBuckets
from ff_proxy.telemetry import Telemetry

# Thousands of SDKs behind one address may come with tokens that are good no longer, and have to be told so.
_FAILURES_AT_ONCE: Final = 3000.0
_FAILURES_PER_SECOND: Final = 50.0
# One in so many connections is for others than the client that has most of them.
_LEFT_TO_OTHERS: Final = 20


class ServingChanges:
    """Takes up the options of ``SERVING_FLAGS``, in any thread; each part is changed where it reads them.

    Args:
        present: the options that everything was made with.
        state: connections, their limits, and the dispatcher with its origins.
        request_metrics: writes the log of requests.
        addresses: know the proxies in front.
        failures: limit refused requests.
        attempts: limit unknown keys.
        context: of the process.
        loop: where all of them live.
    """

    def __init__(
        self,
        present: ServingOptions,
        state: ServerState,
        request_metrics: RequestMetrics,
        addresses: ClientAddresses,
        failures: FailureLimit,
        attempts: KeyAttempts,
        context: ProcessContext,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._present = present
        self._state = state
        self._request_metrics = request_metrics
        self._addresses = addresses
        self._failures = failures
        self._attempts = attempts
        self._context = context
        self._loop = loop

    def __call__(self, options: RoleOptions) -> Collection[str]:
        """See ``Apply``."""
        assert not isinstance(options, GenerateOptions)  # noqa: S101  (the role never changes)
        self._loop.call_soon_threadsafe(self._take, options.serving)
        return ()

    def _take(self, changed: ServingOptions) -> None:
        before, self._present = self._present, replace(changed, workers=self._present.workers)
        clock, telemetry = self._context.clock, self._context.telemetry
        limits = divided(changed.limits, self._present.workers)
        self._state.change_limits(make_limits(replace(self._present, limits=limits), telemetry))
        self._addresses.trust(changed.abuse.trusted_proxies)
        if changed.cors_allowed_origins != before.cors_allowed_origins:
            self._state.dispatcher.allow_origins(Cors(changed.cors_allowed_origins))
        if changed.abuse.rate_limit != before.abuse.rate_limit:
            self._attempts.limited = changed.abuse.rate_limit
            self._failures.limit(failure_buckets(changed.abuse, clock, budget=self._context.shares.keys // 2))
        if changed.access_log is not before.access_log:
            self._request_metrics.log_to(make_access_log(changed.access_log, clock, telemetry))
            self._state.refresh_logging()


def make_limits(options: ServingOptions, telemetry: Telemetry) -> Limits:
    """What the options allow a connection, and all of them together."""
    connections = connection_limit(options.limits.max_connections or 0, telemetry.logger("http"))
    return Limits(
        connections,
        per_peer=connections - connections // _LEFT_TO_OTHERS if options.abuse.rate_limit else 0,
        body_bytes=options.limits.max_body_size,
        idle_seconds=options.limits.idle_timeout,
    )


def divided(limits: LimitOptions, workers: int) -> LimitOptions:
    """The part of one worker: connections are divided among them."""
    if limits.max_connections is None:
        return limits
    return replace(limits, max_connections=-(-limits.max_connections // workers))


def failure_buckets(options: AbuseOptions, clock: Clock, *, budget: int) -> TokenBuckets | None:
    """What counts refused requests by client, if they are limited; ``budget`` is in bytes."""
    if not options.rate_limit:
        return None
    return TokenBuckets(_FAILURES_AT_ONCE, _FAILURES_PER_SECOND, clock, budget=budget)


def make_access_log(mode: AccessLogMode, clock: Clock, telemetry: Telemetry) -> AccessLog | None:
    """The log of requests that somebody wants."""
    if mode is AccessLogMode.OFF:
        return None
    return AccessLog(telemetry.logger("access"), clock, everything=mode is AccessLogMode.ALL)
