"""The inputs and the result of building a process."""

import os
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from random import Random, SystemRandom

from ff_proxy.app.options_reload import OptionsReload
from ff_proxy.config.records import ProxyOptions, ReplicaOptions, ShutdownOptions
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
    """What all parts of a process use.

    Args:
        clock: time.
        telemetry: logs and metrics.
        shares: this process's memory budgets for data from clients.
        random: jitter for retries and for the ends of streams.
        environ: environment variables, for common ones such as ``HTTPS_PROXY`` and ``SSL_CERT_FILE``.
        transport: the transport to Harness; by default the network.
        reload: the options and their reload; ``None`` if they never change.
        admin: the sockets of the admin address, in the process that serves it.
    """

    clock: Clock
    telemetry: Telemetry
    shares: MemoryShares
    random: Random = field(default_factory=SystemRandom)
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    transport: TransportFactory | None = None
    reload: OptionsReload | None = None
    admin: Listening | None = None


def command_context() -> ProcessContext:
    """A context for commands, which write no logs and need little memory."""
    return ProcessContext(clock=SystemClock(), telemetry=null_telemetry(), shares=LEAST_SHARES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A process that is ready to run.

    Args:
        services: run until shutdown; restarted if they fail.
        essential: the process ends when the first of these ends.
        phases: the shutdown phases, in order.
        reloads: called on SIGHUP.
        readiness: returns the current readiness.
        start: awaited once, before the services run.
        deadline: seconds that a shutdown may take.
    """

    services: Sequence[Service]
    essential: Sequence[Service] = ()
    phases: Sequence[Phase]
    reloads: Sequence[Callable[[], object]] = ()
    readiness: Callable[[], Readiness]
    start: Step
    deadline: float


def process_count(options: ProxyOptions) -> int:
    """The number of processes of a proxy: with workers there is also a sync process, except for replicas."""
    workers = options.serving.workers
    return workers if workers == 1 or isinstance(options, ReplicaOptions) else workers + 1


def memory_shares(options: ProxyOptions) -> MemoryShares:
    """The memory budget, divided among the proxy's processes, and within each among its containers."""
    budget = options.serving.limits.memory_budget
    whole = default_budget() if budget is None else max(budget, LEAST_BUDGET)
    return shares_of(whole // process_count(options))


def last_step_seconds(options: ShutdownOptions) -> float:
    """The time for each shutdown step after ``shutdown-delay``: a third of what is left of the deadline."""
    return max(0.0, options.deadline - options.delay) / 3
