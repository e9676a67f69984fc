"""What this room needs of whoever talks to SaaS."""

from typing import Protocol

from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.target import Target


class UsageSink(Protocol):
    """Takes bodies of usage to SaaS (``POST /metrics/{env}?cluster=``)."""

    async def send(self, environment: EnvironmentId, body: bytes) -> None:
        """Return once SaaS has accepted ``body``; the answer is awaited for a bounded time.

        The sink finds the right cluster and a fresh token, and asks for a new one itself when SaaS answers
        401 or 403. Raises ``UpstreamRefused`` with the status of any other definite no, 400 and 413
        included (the entries are then sent in halves), and ``UpstreamUnavailable`` or
        ``UpstreamMalformed`` for what may be better later; each says whether SaaS may have taken ``body`` all
        the same (``perhaps_done``).
        """
        ...


class RegistrationSink(Protocol):
    """Makes SaaS know a target (``POST /client/auth`` with the environment's configured key)."""

    async def register(self, environment: EnvironmentId, target: Target) -> None:
        """Return once SaaS knows ``target``; errors as in ``UsageSink.send``."""
        ...
