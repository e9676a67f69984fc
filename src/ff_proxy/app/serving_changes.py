"""Applies new options to a running server: origins, limits, trusted proxies, and the access log."""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Final

from ff_proxy.api.access_log import AccessLog
from ff_proxy.api.key_lookup import KeyAttempts
from ff_proxy.api.request_metrics import RequestMetrics
from ff_proxy.app.process import ProcessContext
from ff_proxy.config.records import GenerateOptions, LimitOptions, RoleOptions, ServingOptions
from ff_proxy.config.value_types import AccessLog as AccessLogMode
from ff_proxy.http.client_address import ClientAddresses
from ff_proxy.http.cors import Cors
from ff_proxy.http.failure_limit import FailureLimit
from ff_proxy.http.limits import Limits, connection_limit
from ff_proxy.http.server_state import ServerState
from ff_proxy.model.clock import Clock
from ff_proxy.telemetry import Telemetry

# One in so many connections is reserved for other clients than the one with the most.
_LEFT_TO_OTHERS: Final = 20


@dataclass(slots=True, kw_only=True)
class ServingChanges:
    """Applies new values of the options in ``SERVING_FLAGS``, in any thread.

    Args:
        present: the options in force.
        state: connections, their limits, and the dispatcher with its origins.
        request_metrics: writes the access log.
        addresses: know the trusted proxies.
        failures: limit refused requests.
        attempts: limit unknown keys.
        context: of the process.
        loop: the event loop in which all of them are used.
    """

    present: ServingOptions
    state: ServerState
    request_metrics: RequestMetrics
    addresses: ClientAddresses
    failures: FailureLimit
    attempts: KeyAttempts
    context: ProcessContext
    loop: asyncio.AbstractEventLoop

    def __call__(self, options: RoleOptions) -> Collection[str]:
        """See ``Apply``."""
        assert not isinstance(options, GenerateOptions)  # noqa: S101  (the role never changes)
        self.loop.call_soon_threadsafe(self._apply, options.serving)
        return ()

    def _apply(self, changed: ServingOptions) -> None:
        before, self.present = self.present, replace(changed, workers=self.present.workers)
        telemetry = self.context.telemetry
        limits = divided(changed.limits, self.present.workers)
        self.state.limits = make_limits(replace(self.present, limits=limits), telemetry)
        self.addresses.trust(changed.abuse.trusted_proxies)
        self.attempts.limited = self.failures.limited = changed.abuse.rate_limit
        if changed.cors_allowed_origins != before.cors_allowed_origins:
            self.state.dispatcher.allow_origins(Cors(changed.cors_allowed_origins))
        if changed.access_log is not before.access_log:
            self.request_metrics.log_to(make_access_log(changed.access_log, self.context.clock, telemetry))
            self.state.refresh_logging()


def make_limits(options: ServingOptions, telemetry: Telemetry) -> Limits:
    """The limits of each connection, and of all together."""
    connections = connection_limit(options.limits.max_connections or 0, telemetry.logger("http"))
    return Limits(
        connections,
        per_peer=connections - connections // _LEFT_TO_OTHERS if options.abuse.rate_limit else 0,
        body_bytes=options.limits.max_body_size,
        idle_seconds=options.limits.idle_timeout,
    )


def divided(limits: LimitOptions, workers: int) -> LimitOptions:
    """The limits of one worker: connections are divided among them."""
    if limits.max_connections is None:
        return limits
    return replace(limits, max_connections=-(-limits.max_connections // workers))


def make_access_log(mode: AccessLogMode, clock: Clock, telemetry: Telemetry) -> AccessLog | None:
    """The access log, unless it is off."""
    if mode is AccessLogMode.OFF:
        return None
    return AccessLog(telemetry.logger("access"), clock, everything=mode is AccessLogMode.ALL)
