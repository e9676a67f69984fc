"""The network seam as production makes it, from this process's environment."""

import os

import httpx2

from ff_proxy.tls.trust import client_trust
from ff_proxy.upstream.http import HttpTransport
from ff_proxy.upstream.outbound_proxy import outbound_proxies


def make_transport(agent: str = "test", backend: httpx2.AsyncBaseTransport | None = None) -> HttpTransport:
    """To be opened; ``backend`` stands in for sockets."""
    return HttpTransport(agent, client_trust(os.environ).context, outbound_proxies(os.environ)[0], backend)
