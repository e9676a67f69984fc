"""What every process of ours begins with: its logs and figures, and what the options had to say."""

import os
import platform
import ssl
from pathlib import Path

from ff_proxy import __version__
from ff_proxy.app.options_reload import start_warnings
from ff_proxy.app.start_lines import start_facts
from ff_proxy.config.load import Loaded
from ff_proxy.config.records import OperationOptions, ReplicaOptions
from ff_proxy.model.clock import Clock
from ff_proxy.telemetry import Telemetry
from ff_proxy.telemetry.levels import LogLevels
from ff_proxy.telemetry.logs import LeveledLogger, make_logger
from ff_proxy.telemetry.multiprocess import share_metrics
from ff_proxy.telemetry.process_metrics import ProcessMetrics
from ff_proxy.tls.trust import client_trust


def make_trust(telemetry: Telemetry) -> ssl.SSLContext:
    """Whose certificates this process believes (``SSL_CERT_FILE``, ``SSL_CERT_DIR``), or ``StartupError``."""
    trust = client_trust(os.environ)
    if trust.unusable:
        telemetry.logger("tls").warning("files in SSL_CERT_DIR cannot be used", files=list(trust.unusable))
    return trust.context


def make_telemetry(loaded: Loaded, clock: Clock, process: str = "") -> Telemetry:
    """Telemetry on standard output; its first lines say what is started, and what is odd about the options.

    With ``process`` every line says so.
    """
    telemetry = Telemetry(
        _logger(loaded.options.operation, process),
        clock,
        replica=isinstance(loaded.options, ReplicaOptions),
    )
    _note_process(telemetry, process or "main")
    log = telemetry.logger("config")
    log.info("starting", version=__version__, **start_facts(loaded))
    for warning in start_warnings(loaded):
        log.warning(warning)
    return telemetry


def make_part_telemetry(
    options: OperationOptions, clock: Clock, metrics: Path, process: str, *, replica: bool = False
) -> Telemetry:
    """Telemetry of one process of several: every line says which, and figures are those of all of them."""
    shown = share_metrics(metrics, process)
    telemetry = Telemetry(_logger(options, process), clock, shown=shown, replica=replica)
    _note_process(telemetry, process)
    return telemetry


def _note_process(telemetry: Telemetry, process: str) -> None:
    metrics = telemetry.metrics
    metrics.build.labels(__version__, platform.python_version()).set(1)
    metrics.process_starts.labels(process).inc()
    metrics.store_up.set(1)  # until somebody finds otherwise
    telemetry.sampler.add(ProcessMetrics(metrics))


def _logger(options: OperationOptions, process: str) -> LeveledLogger:
    levels = {name: level.value for name, level in options.environment_levels}
    return make_logger(
        LogLevels(options.log_level.value, levels),
        process=process,
        form=options.log_format.value,
        colors=not options.no_color,
    )
