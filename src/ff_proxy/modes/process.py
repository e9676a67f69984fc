"""What every process of ours begins with: its logs and figures, and what the options had to say."""

from collections.abc import Sequence

from ff_proxy import __version__
from ff_proxy.config.records import OperationOptions
from ff_proxy.model.time import Clock
from ff_proxy.telemetry import Telemetry
from ff_proxy.telemetry.logs import make_logger


def make_telemetry(options: OperationOptions, clock: Clock, warnings: Sequence[str]) -> Telemetry:
    """Telemetry on standard output; the configuration's warnings are its first lines."""
    telemetry = Telemetry(make_logger(options.log_level.value), clock)
    log = telemetry.logger("config")
    log.info("ff-proxy", version=__version__)
    for warning in warnings:
        log.warning(warning)
    return telemetry
