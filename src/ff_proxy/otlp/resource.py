"""The OpenTelemetry resource of this proxy."""

import socket

from opentelemetry.sdk.resources import OTELResourceDetector, Resource

from ff_proxy import __version__


def resource(process: str) -> Resource:
    """The resource of ``process``, a name that is unique within this proxy.

    ``OTEL_SERVICE_NAME`` and ``OTEL_RESOURCE_ATTRIBUTES`` take precedence.
    """
    own = {
        "service.name": "ff-proxy",
        "service.version": __version__,
        "service.instance.id": f"{socket.gethostname()}/{process}",
    }
    return Resource(own).merge(OTELResourceDetector().detect())
