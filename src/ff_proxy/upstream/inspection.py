"""How a request gets to a server: what was resolved, how long it took, and whose certificate was shown."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ff_proxy.tls.certificates import Certificate
from ff_proxy.upstream.http import HttpTransport, read_certificate, server_tls
from ff_proxy.upstream.transport import Reply, Request


@dataclass(frozen=True, slots=True)
class Inspection:
    """An answer and the way to it.

    ``address`` is the one that was connected to (of the outbound proxy, if there is one), ``connect`` and
    ``total`` are in seconds, ``tls`` and ``certificate`` empty without TLS.
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
    """Send ``request`` on a connection of its own and say how it went; raises as ``HttpTransport.send``."""
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
        """What the HTTP client tells of its steps."""
        if event.endswith("connect_tcp.started"):
            self._began = self._now()
        elif event.endswith("connect_tcp.complete"):
            self.connect = self._now() - self._began
            address = facts["return_value"].get_extra_info("server_addr")
            self.address = str(address[0]) if address else ""
        elif (tls := server_tls(event, facts, self._request)) is not None:
            self.tls = tls.version() or ""
            self.certificate = read_certificate(tls.getpeercert(binary_form=True))
