"""What a process is built with, and what building it results in."""

import os
import random
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from ff_proxy.app.options_reload import OptionsReload
from ff_proxy.config.records import OfflineOptions, OnlineOptions, ReplicaOptions, ShutdownOptions
from ff_proxy.http.sockets import Listening
from ff_proxy.model.clock import Clock
from ff_proxy.model.memory import LEAST_BUDGET, LEAST_SHARES, MemoryShares, shares_of
from ff_proxy.model.readiness import Readiness
from ff_proxy.runtime.clock import SystemClock
from ff_proxy.runtime.memory import default_budget
from ff_proxy.runtime.services import Phase, Service
from ff_proxy.telemetry import Telemetry, null_telemetry
from ff_proxy.upstream.outbound_proxy import OutboundProxies
from ff_proxy.upstream.transport import Transport

TransportFactory = Callable[[ssl.SSLContext, OutboundProxies], AbstractAsyncContextManager[Transport]]
Step = Callable[[], Awaitable[object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessContext:
    """What every part of a process uses.

    Args:
        clock: time.
        random: spreads retries and the ends of streams.
        telemetry: logs and metrics.
        shares: bytes that this process may keep of each kind of thing that clients send.
        environ: environment variables that other programs have, too: ``HTTPS_PROXY``, ``SSL_CERT_FILE`` and
            their like.
        transport: reaches Harness; by default over the network.
        reload: the options, which may change; ``None`` if they never do.
        admin: where the admin address listens, in the process that serves it.
    """

    clock: Clock
    random: random.Random
    telemetry: Telemetry
    shares: MemoryShares
    environ: Mapping[str, str]
    transport: TransportFactory | None = None
    reload: OptionsReload | None = None
    admin: Listening | None = None


def command_context() -> ProcessContext:
    """For commands, which write no logs and keep next to nothing."""
    return ProcessContext(
        clock=SystemClock(),
        random=random.SystemRandom(),
        telemetry=null_telemetry(),
        shares=LEAST_SHARES,
        environ=os.environ,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A process that is ready to be run.

    Args:
        services: run until shutdown, and again if they fail.
        essential: the process ends with the first of them that ends.
        phases: the steps of a shutdown, in order.
        reloads: read files again on SIGHUP.
        readiness: how far it has come.
        start: is awaited once, before the services run.
        deadline: seconds that a shutdown may take.
    """

    services: Sequence[Service]
    essential: Sequence[Service] = ()
    phases: Sequence[Phase]
    reloads: Sequence[Callable[[], object]] = ()
    readiness: Callable[[], Readiness]
    start: Step
    deadline: float


ProxyOptions = OnlineOptions | OfflineOptions | ReplicaOptions
"""The options of a proxy that serves SDKs."""


def process_count(options: ProxyOptions) -> int:
    """How many processes this proxy is: several workers follow a sync process, but replicas follow Redis."""
    workers = options.serving.workers
    return workers if workers == 1 or isinstance(options, ReplicaOptions) else workers + 1


def memory_shares(options: ProxyOptions) -> MemoryShares:
    """The memory budget, shared out among the processes of this proxy and in each among its containers."""
    budget = options.serving.limits.memory_budget
    whole = default_budget() if budget is None else max(budget, LEAST_BUDGET)
    return shares_of(whole // process_count(options))


def last_step_seconds(options: ShutdownOptions) -> float:
    """What each of the steps that follow ``shutdown-delay`` gets of the deadline: a third of the rest."""
    return max(0.0, options.deadline - options.delay) / 3
