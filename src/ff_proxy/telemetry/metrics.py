"""Every Prometheus figure of the product, declared once; v1's names where they make sense.

See spec/behaviour#endpoints.

No label ever holds a target identifier or a key: labels are environments, routes, outcomes.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_BYTES = (100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000)


class Metrics:
    """The figures, on the registry that is handed in.

    ``multiprocess_mode`` says what becomes of a gauge when several processes have it (see ``shared``).
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            "ff_proxy_http_requests",
            "Requests answered.",
            ("url", "envID", "code", "method"),
            registry=registry,
        )
        self.request_seconds = Histogram(
            "ff_proxy_http_requests_duration",
            "Seconds to answer a request that took the ordinary route.",
            ("url", "envID"),
            buckets=_SECONDS,
            registry=registry,
        )
        self.body_bytes = Histogram(
            "ff_http_requests_content_length_histogram",
            "Bytes of request bodies.",
            ("url", "envID"),
            buckets=_BYTES,
            registry=registry,
        )
        self.sdk_usage = Counter(
            "ff_proxy_sdk_usage",
            "Usage posts by SDK.",
            ("envID", "sdk_type", "sdk_version", "sdk_language"),
            registry=registry,
        )
        self.usage_forwarded = Counter(
            "ff_proxy_metrics_forwarded",
            "Usage bodies sent to SaaS.",
            ("envID", "error"),
            registry=registry,
        )
        self.usage_dropped = Counter(
            "ff_proxy_usage_dropped",
            "Usage entries given up: bad, too large, or no room.",
            ("envID", "reason"),
            registry=registry,
        )
        self.entries_dropped = Counter(
            "ff_proxy_entries_dropped",
            "Entries that a cache or queue had no room for within its share of the memory budget.",
            ("container",),
            registry=registry,
        )
        self.checks_late = Counter(
            "ff_proxy_revision_checks_late",
            "Requests of which the store did not say in time whether anything newer is there.",
            ("envID",),
            registry=registry,
        )
        self.streams = Gauge(
            "ff_proxy_sdk_streams",
            "SDK streams open now.",
            ("envID",),
            registry=registry,
            multiprocess_mode="livesum",
        )
        self.events_sent = Counter(
            "ff_proxy_sse_publish", "Events written to SDK streams.", ("environment",), registry=registry
        )
        self.streams_closed = Counter(
            "ff_proxy_sse_stream_close",
            "SDK streams ended by the proxy, or left by the SDK.",
            ("environment", "reason"),
            registry=registry,
        )
        self.upstream_connected = Gauge(
            "ff_proxy_stream_health",
            "1 while the environment's SaaS stream is connected.",
            ("envID",),
            registry=registry,
            multiprocess_mode="livemax",
        )
        self.upstream_requests = Counter(
            "ff_proxy_to_client_service_requests",
            "Requests to SaaS.",
            ("url", "envID", "code"),
            registry=registry,
        )
        self.upstream_events = Counter(
            "ff_proxy_saas_events", "Events received from SaaS.", ("envID", "outcome"), registry=registry
        )
        self.unresolved = Counter(
            "ff_proxy_evaluations_unresolved",
            "Evaluations that yielded no variation.",
            ("envID",),
            registry=registry,
        )
        self.items_rejected = Counter(
            "ff_proxy_items_rejected",
            "Flags, segments or targets from a source that could not be used.",
            ("envID",),
            registry=registry,
        )
        self.targets_cut = Counter(
            "ff_proxy_targets_cut",
            "Targets at authentication of which something was too long to be kept.",
            ("envID", "reason"),
            registry=registry,
        )
        self.registrations = Counter(
            "ff_proxy_target_registrations",
            "Targets forwarded to SaaS.",
            ("envID", "outcome"),
            registry=registry,
        )
        self.service_failures = Counter(
            "ff_proxy_service_failures",
            "Unexpected failures of background services, which go on or are started again.",
            ("service",),
            registry=registry,
        )
        self.refused_connections = Counter(
            "ff_proxy_connections_refused", "Connections closed at a limit.", ("reason",), registry=registry
        )
        self.certificate_expiry = Gauge(
            "ff_proxy_certificate_expiry_seconds",
            "Seconds until the certificate that SDKs are shown ends; below zero it has ended.",
            ("certificate",),
            registry=registry,
            multiprocess_mode="livemin",
        )
