"""Posting usage and targets to Harness, with a valid token and the right cluster."""

from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.target import Target
from ff_proxy.upstream.client import ClientApi
from ff_proxy.upstream.credentials import EnvironmentDirectory, Session


class HarnessSink:
    """Sends usage and targets to Harness; renews an environment's token once if Harness refuses it.

    Its methods return once Harness has accepted what they send.

    Raises:
        UpstreamUnavailable: a retry may succeed; also while no key of the environment was accepted.
        UpstreamRefused: 400, 413 or 422: the body is rejected; 401, 403 or 404: no key is accepted.
        UpstreamMalformed: anything else.
    """

    def __init__(self, api: ClientApi, directory: EnvironmentDirectory) -> None:
        self._api = api
        self._directory = directory

    async def send(self, environment: EnvironmentId, body: bytes) -> None:
        """Send a body of usage."""
        await self._directory.require(environment).call(lambda session: self._api.post_usage(session, body))

    async def register(self, environment: EnvironmentId, target: Target) -> None:
        """Register ``target`` by authenticating with the configured key (spec/behaviour#upward-queues)."""

        async def authenticate(session: Session) -> Session:
            return await self._api.authenticate(session.key, target)

        await self._directory.require(environment).call(authenticate)
