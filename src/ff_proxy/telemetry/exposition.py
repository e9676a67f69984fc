"""The figures on a port of their own (option ``prometheus-port``)."""

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, start_http_server

from ff_proxy.errors import StartupError


@contextmanager
def figures_served(registry: CollectorRegistry, port: int) -> Iterator[None]:
    """Serve ``registry`` as Prometheus text on ``port``, from a thread, for as long as the context lasts.

    Raises ``StartupError`` if the port cannot be used.
    """
    try:
        server, thread = start_http_server(port, registry=registry)
    except OSError as error:
        raise StartupError(
            f"port {port} cannot be used: {error.strerror}; choose another one with -prometheus-port"
        ) from error
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5.0)
