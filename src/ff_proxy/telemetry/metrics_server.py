"""The figures on a port of their own (option ``prometheus-port``)."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app

from ff_proxy.errors import StartupError


def bind_metrics(port: int) -> socket.socket:
    """A listening socket for them; raises ``StartupError`` if the port cannot be used."""
    try:
        return socket.create_server(("", port))
    except OSError as error:
        raise StartupError(
            f"port {port} cannot be used: {error.strerror}; choose another one with -prometheus-port"
        ) from error


@contextmanager
def metrics_served(registry: CollectorRegistry, listening: socket.socket) -> Iterator[None]:
    """Serve ``registry`` as Prometheus text, from a thread, for as long as the context lasts."""
    with _Server(listening) as server:
        server.set_app(make_wsgi_app(registry))
        thread = threading.Thread(target=server.serve_forever, name="figures", daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join(5.0)


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (its name there)
        """Log nothing."""


class _Server(ThreadingMixIn, WSGIServer):
    """On a socket that is bound already."""

    daemon_threads = True

    def __init__(self, listening: socket.socket) -> None:
        address = listening.getsockname()[:2]
        super().__init__(address, _Quiet, bind_and_activate=False)
        self.socket.close()
        self.socket = listening
        self.server_name, self.server_port = address
        self.setup_environ()
