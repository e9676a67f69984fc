"""Every Prometheus metric, declared once; with the Go proxy's names where they make sense.

See spec/behaviour#endpoints.

No label ever holds a target identifier or a key: labels are environments, routes, outcomes.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric

_FORGOTTEN: Final = -math.inf

SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
"""The buckets of request durations: the Go proxy's from 0.05 to 1, and finer ones below."""

_UPSTREAM = (0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 10.0, 30.0)
_LAG = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
_BYTES = (100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000)


class Metrics:
    """The metrics, registered with ``registry``.

    ``multiprocess_mode`` says what becomes of a gauge when several processes have it (see ``multiprocess``).
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        counter, histogram = partial(Counter, registry=registry), partial(Histogram, registry=registry)
        gauge = partial(Gauge, registry=registry)
        self.requests = counter(
            "ff_proxy_http_requests", "Requests answered.", ("url", "envID", "code", "method")
        )
        self.request_seconds = histogram(
            "ff_proxy_http_requests_duration",
            "Seconds to answer a request that took the ordinary route.",
            ("url", "envID"),
            buckets=SECONDS,
        )
        self.body_bytes = histogram(
            "ff_http_requests_content_length_histogram",
            "Bytes of request bodies.",
            ("url", "envID"),
            buckets=_BYTES,
        )
        self.sdk_usage = counter(
            "ff_proxy_sdk_usage", "Usage posts by SDK.", ("envID", "sdk_type", "sdk_version", "sdk_language")
        )
        self.usage_forwarded = counter(
            "ff_proxy_metrics_forwarded", "Usage bodies sent to Harness.", ("envID", "error")
        )
        self.usage_dropped = counter(
            "ff_proxy_usage_dropped",
            "Usage entries given up: bad, too large, or no room.",
            ("envID", "reason"),
        )
        self.entries_dropped = counter(
            "ff_proxy_entries_dropped",
            "Entries that a cache or queue had no room for within its share of the memory budget.",
            ("container",),
        )
        self.checks_late = counter(
            "ff_proxy_revision_checks_late",
            "Requests of which the store did not say in time whether anything newer is there.",
            ("envID",),
        )
        self.streams = gauge(
            "ff_proxy_sdk_streams", "SDK streams open now.", ("envID",), multiprocess_mode="livesum"
        )
        self.events_sent = counter("ff_proxy_sse_publish", "Events written to SDK streams.", ("environment",))
        self.streams_closed = counter(
            "ff_proxy_sse_stream_close",
            "SDK streams ended by the proxy, or left by the SDK.",
            ("environment", "reason"),
        )
        self.upstream_connected = gauge(
            "ff_proxy_stream_health",
            "1 while the environment's Harness stream is connected.",
            ("envID",),
            multiprocess_mode="livemax",
        )
        self.upstream_requests = counter(
            "ff_proxy_to_client_service_requests", "Requests to Harness.", ("url", "envID", "code")
        )
        self.upstream_events = counter(
            "ff_proxy_saas_events", "Events received from Harness.", ("envID", "outcome")
        )
        self.unresolved = counter(
            "ff_proxy_evaluations_unresolved", "Evaluations that yielded no variation.", ("envID",)
        )
        self.items_rejected = counter(
            "ff_proxy_items_rejected",
            "Flags, segments or targets from a source that could not be used.",
            ("envID",),
        )
        self.targets_cut = counter(
            "ff_proxy_targets_cut",
            "Targets at authentication of which something was too long to be kept.",
            ("envID", "reason"),
        )
        self.registrations = counter(
            "ff_proxy_target_registrations", "Targets forwarded to Harness.", ("envID", "outcome")
        )
        self.service_failures = counter(
            "ff_proxy_service_failures",
            "Unexpected failures of background services, which go on or are started again.",
            ("service",),
        )
        self.refused_connections = counter(
            "ff_proxy_connections_refused", "Connections closed at a limit.", ("reason",)
        )
        self.certificate_expiry = gauge(
            "ff_proxy_certificate_expiry_seconds",
            "Seconds until the certificate that SDKs are shown ends; below zero it has ended.",
            ("certificate",),
            multiprocess_mode="livemin",
        )
        self.upstream_seconds = histogram(
            "ff_proxy_to_ff_client_service_requests_duration",
            "Seconds until Harness has answered a request; streams are not among them.",
            ("url", "envID"),
            buckets=_UPSTREAM,
        )
        self.upstream_messages = counter(
            "ff_proxy_saas_to_primary_sse_consumer_messages_received",
            "Events received from Harness.",
            ("topic", "error"),
        )
        self.upstream_subscriptions = counter(
            "ff_proxy_saas_to_primary_sse_consumer_subscription_requests",
            "Streams asked of Harness.",
            ("topic",),
        )
        self.store_up = gauge(
            "ff_proxy_store_up", "1 while the store can be read and written.", multiprocess_mode="livemin"
        )
        self.queued = gauge(
            "ff_proxy_queue_entries",
            "Entries that wait in this proxy's memory for the store.",
            ("queue",),
            multiprocess_mode="livesum",
        )
        self._declare_environments(registry)
        self._declare_process(registry)

    def _declare_environments(self, registry: CollectorRegistry) -> None:
        def of_environment(name: str, meaning: str) -> Gauge:
            labels = ("envID",)
            return Gauge(f"ff_proxy_{name}", meaning, labels, registry=registry, multiprocess_mode="livemax")

        self.data_age = of_environment(
            "environment_data_age_seconds", "Seconds since the environment was as Harness has it; 0: it is."
        )
        self.flags = of_environment("environment_flags", "Flags of the environment.")
        self.segments = of_environment("environment_target_groups", "Target groups of the environment.")
        self.keys = of_environment("environment_keys", "SDK keys that are accepted for the environment.")
        self.revision = of_environment(
            "environment_revision",
            "Number of the environment's revision in the store; it grows with changes.",
        )
        self.keys_age = of_environment(
            "environment_keys_age_seconds", "Seconds since Harness last listed the environment's keys."
        )
        self.leading = of_environment(
            "leading", "1 while this proxy keeps the environment in step with Harness."
        )
        self.usage_queued = of_environment(
            "usage_queued", "Usage entries of the environment that wait to be sent to Harness."
        )

    def _declare_process(self, registry: CollectorRegistry) -> None:
        counter, gauge = partial(Counter, registry=registry), partial(Gauge, registry=registry)
        self.build = gauge(
            "ff_proxy_build_info",
            "1, with the version as a label.",
            ("version", "python"),
            multiprocess_mode="livemax",
        )
        self.is_ready = gauge(
            "ff_proxy_ready", "1 while the proxy is ready for SDKs.", multiprocess_mode="livemin"
        )
        self.degraded = gauge(
            "ff_proxy_degraded", "Reasons for which it works on old data.", multiprocess_mode="livemax"
        )
        self.loop_lag = Histogram(
            "ff_proxy_event_loop_lag_seconds",
            "Seconds by which a timer, set fifty times a second, was late.",
            buckets=_LAG,
            registry=registry,
        )
        self.loop_held = counter(
            "ff_proxy_event_loop_held",
            "Times that work held the event loop for more than 50 ms of processor time.",
        )
        self.process_starts = counter(
            "ff_proxy_process_starts",
            "Starts of each of the proxy's processes; what goes beyond one were restarts.",
            ("process",),
        )
        self.process_cpu = counter("process_cpu_seconds", "Processor time in seconds.")
        self.process_resident = gauge(
            "process_resident_memory_bytes", "Resident memory.", multiprocess_mode="livesum"
        )
        self.process_virtual = gauge(
            "process_virtual_memory_bytes", "Virtual memory.", multiprocess_mode="livesum"
        )
        self.process_fds = gauge("process_open_fds", "Open files.", multiprocess_mode="livesum")
        self.process_max_fds = gauge(
            "process_max_fds", "Files that a process may open.", multiprocess_mode="livemin"
        )
        self.process_start = gauge(
            "process_start_time_seconds", "Start in seconds since 1970.", multiprocess_mode="livemin"
        )


def forget(gauge: Gauge, environment: str) -> None:
    """Hide the environment's value until it is set again.

    The library cannot remove a value that several processes share. Of gauges that show the highest value of
    all processes (``livemax``), the lowest is none.
    """
    gauge.labels(environment).set(_FORGOTTEN)


def without_forgotten(family: Metric) -> Metric:
    """``family`` without forgotten values."""
    if family.type == "gauge":
        family.samples = [sample for sample in family.samples if sample.value != _FORGOTTEN]
    return family


def add_timed(histogram: Histogram, count: int, timed: Sequence[int], seconds: float) -> None:
    """Add ``count`` observations at once; only some were ``timed``, and the others count like them.

    ``timed`` counts them by bucket, the last bucket without an end; ``seconds`` is what these took together.
    """
    measured = sum(timed)
    if not measured:
        return
    seen = told = 0
    for bucket, some in zip(histogram._buckets, timed, strict=True):  # noqa: SLF001  (one call, not a million)
        if some:
            seen += some
            upto = seen * count // measured
            bucket.inc(upto - told)
            told = upto
    histogram._sum.inc(seconds * count / measured)  # noqa: SLF001  (as above)
