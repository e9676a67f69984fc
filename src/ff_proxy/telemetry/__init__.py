"""Our own logs and Prometheus figures. Every room reports here, none reads from here.

One ``Telemetry`` is made per process and handed down; ``null_telemetry`` makes one for tests that keeps
everything to itself. This room imports only the model and the errors.
"""

from ff_proxy.telemetry.failures import Failures
from ff_proxy.telemetry.logs import Logger, OnceLog
from ff_proxy.telemetry.metrics import Metrics
from ff_proxy.telemetry.telemetry import Telemetry, null_telemetry

__all__ = ["Failures", "Logger", "Metrics", "OnceLog", "Telemetry", "null_telemetry"]
