"""The Go proxy's names, in both of its versions, of metrics that this proxy has too."""

from typing import Final

from prometheus_client import Metric

GO_COUNTERS: Final = frozenset(
    {
        "ff_proxy_sdk_usage",
        "ff_proxy_metrics_forwarded",
        "ff_proxy_sse_publish",
        "ff_proxy_sse_stream_close",
        "ff_proxy_to_client_service_requests",
        "ff_proxy_saas_to_primary_sse_consumer_messages_received",
        "ff_proxy_saas_to_primary_sse_consumer_subscription_requests",
        "ff_proxy_primary_to_sdk_sse_producer_messages_published",
        "ff_proxy_replica_to_sdk_sse_producer_messages_published",
    }
)
"""Counters without ``_total``."""

PUBLISHED: Final = "ff_proxy_sse_publish"
"""Version 1's name of the events written to SDKs, by environment."""

UPSTREAM_TOPIC: Final = "*"
"""Version 2's names of events from Harness."""


def published_as(published: Metric, *, replica: bool) -> Metric:
    """Version 2's family for the events written to SDKs: the environment is the topic."""
    who = "replica" if replica else "primary"
    name = f"ff_proxy_{who}_to_sdk_sse_producer_messages_published"
    made = Metric(name, published.documentation, "counter")
    for sample in published.samples:
        if sample.name.endswith("_total"):
            labels = {"topic": sample.labels["environment"], "error": "false"}
            made.add_sample(f"{name}_total", labels, sample.value)
    return made
