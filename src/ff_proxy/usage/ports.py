"""The interfaces through which usage reaches Harness."""

from typing import Protocol

from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.target import Target


class UsageSink(Protocol):
    """Posts usage to Harness (``POST /metrics/{env}?cluster=``)."""

    async def send(self, environment: EnvironmentId, body: bytes) -> None:
        """Return once Harness has accepted ``body``; times out.

        The sink finds the cluster and a valid token, and gets a new token itself after 401 or 403. Raises
        ``UpstreamRefused`` for any other definite refusal, including 400 and 413 (the entries are then
        bisected), and ``UpstreamUnavailable`` or ``UpstreamMalformed`` for failures worth a retry.
        ``perhaps_done`` says whether Harness may have accepted ``body`` nevertheless.
        """
        ...


class RegistrationSink(Protocol):
    """Registers targets with Harness (``POST /client/auth`` with the environment's configured key)."""

    async def register(self, environment: EnvironmentId, target: Target) -> None:
        """Return once Harness has ``target``; errors as in ``UsageSink.send``."""
        ...
