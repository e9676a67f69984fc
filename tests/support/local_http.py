"""Clients of HTTP servers on loopback."""

import httpx2


def local_http(base_url: str = "", *, timeout: float = 5.0) -> httpx2.AsyncClient:
    """A client that uses no proxy of this machine and knows no certificates.

    Loading them takes fifty milliseconds of CPU, a hundred times as long as all the rest of a client. Some
    tests make one again and again: to look at ``/metrics`` until somebody leads.
    """
    return httpx2.AsyncClient(base_url=base_url, trust_env=False, timeout=timeout, verify=False)
