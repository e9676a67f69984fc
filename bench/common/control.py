"""A port that takes requests for changes, as the program that opens streams makes them."""

import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from bench.common.plan import BenchError
from bench.common.processes import HOST


@contextmanager
def control_port(act: Callable[[int], None]) -> Iterator[int]:
    """A port of loopback; each line written to it is a number, which ``act`` is given in another thread.

    Raises ``BenchError`` at the end if ``act`` raised one.
    """
    failures: list[BenchError] = []

    class Lines(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            try:
                for line in self.rfile:
                    act(int(line))
            except BenchError as error:
                failures.append(error)

    with socketserver.TCPServer((HOST, 0), Lines) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()
    if failures:
        raise failures[0]
