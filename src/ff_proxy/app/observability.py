"""Logs, metrics and heartbeats of a process, and the certificates it trusts."""

import platform
import socket
import ssl
from collections.abc import Callable, Collection, Sequence
from contextlib import AsyncExitStack

from ff_proxy import __version__
from ff_proxy.api.health import HealthLog
from ff_proxy.api.metrics_page import MetricsPage
from ff_proxy.app.listening import bind_metrics
from ff_proxy.app.metrics_port import MetricsPort
from ff_proxy.app.options_reload import start_warnings
from ff_proxy.app.process import ProcessContext
from ff_proxy.app.roles import ChildRole, ReplicaWorker, ServingRole, Single, Sync
from ff_proxy.app.shared_runtime import SharedRuntime
from ff_proxy.app.start_lines import start_facts
from ff_proxy.config.load import Loaded
from ff_proxy.config.records import OperationOptions, ReplicaOptions, RoleOptions
from ff_proxy.model.clock import Clock
from ff_proxy.model.readiness import Readiness
from ff_proxy.runtime.event_loop import IS_UVLOOP
from ff_proxy.runtime.loop_lag import LoopLag
from ff_proxy.runtime.services import Service
from ff_proxy.telemetry import Telemetry
from ff_proxy.telemetry.json_lines import Output
from ff_proxy.telemetry.levels import LogLevels
from ff_proxy.telemetry.log_files import LogFile, LogFiles
from ff_proxy.telemetry.log_ring import LogRing
from ff_proxy.telemetry.logs import Logger, make_logger
from ff_proxy.telemetry.multiprocess import share_metrics
from ff_proxy.telemetry.process_metrics import ProcessMetrics
from ff_proxy.tls.trust import client_trust


def make_telemetry(loaded: Loaded, clock: Clock, process: str = "") -> Telemetry:
    """Telemetry on standard output; the first lines say what is starting and have warnings about options.

    ``process`` is in every line, if given.
    """
    recent = LogRing()
    telemetry = Telemetry(
        _logger(loaded.options.operation, process, recent),
        clock,
        recent=recent,
        replica=isinstance(loaded.options, ReplicaOptions),
    )
    _count_process(telemetry, process or "main")
    log = telemetry.logger("config")
    log.info("starting", version=__version__, **start_facts(loaded))
    if not IS_UVLOOP:
        log.info("uvloop is not installed: serving on the event loop of Python itself, which is slower")
    for warning in start_warnings(loaded):
        log.warning(warning)
    return telemetry


def make_child_telemetry(role: ChildRole, clock: Clock) -> Telemetry:
    """Telemetry of one of several processes: every line names it, and metrics cover all of them."""
    exposed = share_metrics(role.runtime.metrics, role.name)
    logs = role.runtime.logs
    telemetry = Telemetry(
        _logger(role.options.operation, role.name, LogFile(logs, role.name)),
        clock,
        recent=LogFiles(logs),
        shown=exposed,
        replica=isinstance(role, ReplicaWorker),
    )
    _count_process(telemetry, role.name)
    return telemetry


def make_reports(
    role: ServingRole | Sync,
    readiness: Callable[[], Readiness],
    context: ProcessContext,
    stack: AsyncExitStack,
) -> Sequence[Service]:
    """The reporting services of a process; those for the whole proxy run in only one of its processes.

    Raises ``StartupError`` if the metrics port cannot be bound.
    """
    clock, telemetry = context.clock, context.telemetry
    metrics = telemetry.metrics

    def sample() -> None:
        state = readiness()
        metrics.is_ready.set(state.ready)
        metrics.degraded.set(len(state.degraded))

    telemetry.sampler.add(sample)
    services: list[Service] = [
        telemetry.sampler,
        LoopLag(clock, telemetry, name_holder=telemetry.debugging),
    ]
    if not speaks_for_all(role):
        return services
    interval = role.options.operation.heartbeat_interval
    if interval:
        services.append(HealthLog(readiness, interval, clock, telemetry))
    listening = _metrics_socket(role, stack)
    if listening is not None:
        services.append(MetricsPort(MetricsPage(telemetry.exposition), listening, clock, telemetry))
    return services


def share_lines(telemetry: Telemetry, runtime: SharedRuntime, process: str) -> None:
    """Share the log lines of a process that started before ``runtime`` existed with the other processes."""
    assert isinstance(telemetry.recent, LogRing)  # noqa: S101  (see make_telemetry)
    telemetry.recent.copy_to(LogFile(runtime.logs, process))


def set_levels(telemetry: Telemetry, options: RoleOptions) -> Collection[str]:
    """Apply the log levels of ``options``."""
    operation = options.operation
    levels = {name: level.value for name, level in operation.environment_levels}
    telemetry.levels.change(operation.log_level.value, levels)
    return ()


def make_trust(context: ProcessContext, *, needed: bool = True) -> ssl.SSLContext:
    """The trusted CAs (``SSL_CERT_FILE``, ``SSL_CERT_DIR``); raises ``StartupError``.

    Unless they are ``needed``, none are trusted: loading those of the system takes 50 ms at every start.
    """
    if not needed:
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trust = client_trust(context.environ)
    if trust.unusable:
        log = context.telemetry.logger("tls")
        log.warning("files in SSL_CERT_DIR cannot be used", files=list(trust.unusable))
    return trust.context


def _metrics_socket(role: ServingRole | Sync, stack: AsyncExitStack) -> socket.socket | None:
    serving = role.options.serving
    listening = role.metrics if isinstance(role, Sync | ReplicaWorker) else bind_metrics(serving)
    if listening is not None:
        stack.callback(listening.close)
    return listening


def speaks_for_all(role: ServingRole | Sync) -> bool:
    """Whether this process reports for the whole proxy."""
    match role:
        case Single() | Sync():
            return True
        case ReplicaWorker():
            return role.slot.first
        case _:
            return False


def _count_process(telemetry: Telemetry, process: str) -> None:
    metrics = telemetry.metrics
    metrics.build.labels(__version__, platform.python_version()).set(1)
    metrics.process_starts.labels(process).inc()
    metrics.store_up.set(1)  # until a store reports a failure
    telemetry.sampler.add(ProcessMetrics(metrics))


def _logger(options: OperationOptions, process: str, recent: Output) -> Logger:
    levels = {name: level.value for name, level in options.environment_levels}
    return make_logger(
        LogLevels(options.log_level.value, levels),
        process=process,
        form=options.log_format.value,
        colors=not options.no_color,
        recent=recent,
    )
