"""The proxy's own logs and Prometheus metrics: every room reports here, none reads from here.

One ``Telemetry`` is made per process and passed down; ``null_telemetry`` makes one for tests. It imports only
``model``, ``errors`` and ``bounded``; every room above it may import it.
"""

from ff_proxy.telemetry.failures import Failures
from ff_proxy.telemetry.logs import Logger, OnceLog
from ff_proxy.telemetry.metrics import Metrics
from ff_proxy.telemetry.telemetry import Telemetry, null_telemetry

__all__ = ["Failures", "Logger", "Metrics", "OnceLog", "Telemetry", "null_telemetry"]
