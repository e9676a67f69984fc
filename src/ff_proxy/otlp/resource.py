"""Who sends: this proxy, unless OpenTelemetry's variables name it otherwise."""

import socket

from opentelemetry.sdk.resources import OTELResourceDetector, Resource

from ff_proxy import __version__


def resource(process: str) -> Resource:
    """The resource of everything that ``process`` (a name that is unique in this proxy) sends.

    ``OTEL_SERVICE_NAME`` and ``OTEL_RESOURCE_ATTRIBUTES`` take precedence.
    """
    own = {
        "service.name": "ff-proxy",
        "service.version": __version__,
        "service.instance.id": f"{socket.gethostname()}/{process}",
    }
    return Resource(own).merge(OTELResourceDetector().detect())
