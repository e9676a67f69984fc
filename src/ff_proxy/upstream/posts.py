"""Posting usage and targets to Harness, with a valid token and the right cluster."""

from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.target import Target
from ff_proxy.upstream.client import ClientApi
from ff_proxy.upstream.credentials import EnvironmentDirectory, Session


class SaasUsageSink:
    """Posts usage with the environment's token; renews the token once if Harness refuses it."""

    def __init__(self, api: ClientApi, directory: EnvironmentDirectory) -> None:
        self._api = api
        self._directory = directory

    async def send(self, environment: EnvironmentId, body: bytes) -> None:
        """Return once Harness has accepted ``body``.

        Raises:
            UpstreamUnavailable: a retry may succeed; also while no key of the environment was accepted.
            UpstreamRefused: 400, 413 or 422: the body is rejected; 401, 403 or 404: no key is accepted.
            UpstreamMalformed: anything else.
        """
        await self._directory.require(environment).call(lambda session: self._api.post_usage(session, body))


class SaasRegistrationSink:
    """Registers targets by authenticating with the environment's configured key.

    See spec/behaviour#upward-queues.
    """

    def __init__(self, api: ClientApi, directory: EnvironmentDirectory) -> None:
        self._api = api
        self._directory = directory

    async def register(self, environment: EnvironmentId, target: Target) -> None:
        """Return once Harness has ``target``; raises like ``SaasUsageSink.send``."""

        async def authenticate(session: Session) -> Session:
            return await self._api.authenticate(session.key, target)

        await self._directory.require(environment).call(authenticate)
