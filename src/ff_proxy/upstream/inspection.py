"""Inspects the connection of a request: address, timing, and the server's certificate."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ff_proxy.tls.certificates import Certificate
from ff_proxy.upstream.http import HttpTransport, read_certificate, server_tls
from ff_proxy.upstream.transport import Reply, Request


@dataclass(frozen=True, slots=True)
class Inspection:
    """A response, and how the connection was made.

    ``address`` is the address connected to (the outbound proxy's, if there is one), ``connect`` and ``total``
    are in seconds, ``tls`` and ``certificate`` are empty without TLS.
    """

    reply: Reply
    address: str
    connect: float
    total: float
    tls: str = ""
    certificate: Certificate | None = None


async def inspect(
    transport: HttpTransport, request: Request, now: Callable[[], float] = time.monotonic
) -> Inspection:
    """Send ``request`` on a new connection and record its steps; raises like ``HttpTransport.send``."""
    steps = _Steps(request, now)
    began = now()
    reply = await transport.traced(request, steps.note)
    return Inspection(reply, steps.address, steps.connect, now() - began, steps.tls, steps.certificate)


class _Steps:
    def __init__(self, request: Request, now: Callable[[], float]) -> None:
        self._request = request
        self._now = now
        self._began = now()
        self.address = ""
        self.connect = 0.0
        self.tls = ""
        self.certificate: Certificate | None = None

    async def note(self, event: str, facts: Mapping[str, Any]) -> None:
        """Record a step of the HTTP client."""
        if event.endswith("connect_tcp.started"):
            self._began = self._now()
        elif event.endswith("connect_tcp.complete"):
            self.connect = self._now() - self._began
            address = facts["return_value"].get_extra_info("server_addr")
            self.address = str(address[0]) if address else ""
        elif (tls := server_tls(event, facts, self._request)) is not None:
            self.tls = tls.version() or ""
            self.certificate = read_certificate(tls.getpeercert(binary_form=True))
