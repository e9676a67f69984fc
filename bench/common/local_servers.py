"""Small servers that run in a thread of the benchmark's own process."""

import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from bench.common.plan import BenchError
from bench.common.processes import HOST


@contextmanager
def control_port(act: Callable[[int], None]) -> Iterator[int]:
    """A port of loopback; ``act`` is called in another thread with each line, which is a number.

    The program that opens streams asks for changes in this way. Raises ``BenchError`` at the end if ``act``
    raised one.
    """
    failures: list[BenchError] = []

    class Lines(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            try:
                for line in self.rfile:
                    act(int(line))
            except BenchError as error:
                failures.append(error)

    with _serving(socketserver.TCPServer((HOST, 0), Lines)) as port:
        yield port
    if failures:
        raise failures[0]


@contextmanager
def origin(fields: dict[str, str], body: bytes) -> Iterator[int]:
    """A port of loopback at which every GET is answered with these header fields and ``body``."""

    class Answers(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body in one piece

        def do_GET(self) -> None:
            self.send_response(HTTPStatus.OK)
            for name, value in {**fields, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with _serving(_Origin((HOST, 0), Answers)) as port:
        yield port


class _Origin(ThreadingHTTPServer):
    # Thousands may ask at once.
    request_queue_size = 4096

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients may leave in the middle of a request."""


@contextmanager
def _serving(server: socketserver.TCPServer) -> Iterator[int]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    with server:
        thread.start()
        try:
            yield int(server.server_address[1])
        finally:
            server.shutdown()
            thread.join()
