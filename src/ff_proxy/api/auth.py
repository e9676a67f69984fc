"""``POST /client/auth``: issues a token for a key and stores the target (spec/behaviour#endpoints)."""

from collections.abc import Awaitable
from typing import Final

import msgspec

from ff_proxy.api.auth_gate import Issuer
from ff_proxy.api.key_lookup import KeyLookup
from ff_proxy.api.ports import Registrar
from ff_proxy.errors import StoreError
from ff_proxy.http.request import Request
from ff_proxy.http.response import Response, json_response
from ff_proxy.model.keys import EnvironmentId, SdkKey
from ff_proxy.snapshots.snapshot import Snapshot
from ff_proxy.store.protocol import Targets
from ff_proxy.telemetry import Telemetry
from ff_proxy.wire.sdk import AuthRequest, read_auth_request

LONGEST_BODY: Final = 1024 * 1024
"""Bytes of an authentication request."""

_TOO_LONG: Final = (
    "a target is described at too great a length: what is too long is not kept, "
    "and counts only in requests that carry it themselves"
)
_UNREGISTERED: Final = "targets cannot be stored, they are evaluated by identifier alone"


class Authenticator:
    """Issues tokens.

    Args:
        issuer: makes the tokens.
        keys: finds the environment of a key.
        targets: stores targets with their attributes.
        registrar: registers targets with Harness.
        telemetry: counts and logs targets that cannot be stored.
    """

    def __init__(
        self,
        issuer: Issuer,
        keys: KeyLookup,
        targets: Targets,
        registrar: Registrar,
        telemetry: Telemetry,
    ) -> None:
        self._issuer = issuer
        self._keys = keys
        self._targets = targets
        self._registrar = registrar
        self._cut = telemetry.metrics.targets_cut
        self._once = telemetry.once("auth")

    def __call__(self, request: Request) -> Response | Awaitable[Response]:
        """Answer one request; raises ``RequestError`` 400, 403, 413, 429 or 503."""
        content = request.body.whole
        return self._read(request) if content is None else self._answer(content, request.peer)

    async def _read(self, request: Request) -> Response:
        answer = self._answer(await request.body.read(), request.peer)
        return answer if isinstance(answer, Response) else await answer

    def _answer(self, content: bytes, client: str) -> Response | Awaitable[Response]:
        asked = read_auth_request(content)
        snapshot = self._keys.loaded(asked.key)
        if snapshot is None or asked.target is not None or asked.excess is not None:
            return self._answer_later(asked, client)
        return self._token(snapshot, asked.key)

    async def _answer_later(self, asked: AuthRequest, client: str) -> Response:
        snapshot = await self._keys.find(asked.key, client)
        response = self._token(snapshot, asked.key)
        await self._remember(snapshot.environment, asked)
        return response

    def _token(self, snapshot: Snapshot, key: SdkKey) -> Response:
        token = self._issuer.issue(snapshot.info, key.hash)
        return json_response(200, msgspec.json.encode({"authToken": token}))

    async def _remember(self, environment: EnvironmentId, asked: AuthRequest) -> None:
        if asked.excess is not None:
            self._cut.labels(environment, asked.excess.value).inc()
            self._once.warning(_TOO_LONG, environment, what=asked.excess.value)
        if asked.target is None:
            return
        if not asked.target.anonymous:
            self._registrar.register(environment, asked.target)
        try:
            await self._targets.put(environment, asked.target, keep_attributes=asked.keep_attributes)
        except StoreError as error:
            # No SDK survives a failed authentication, but all work without stored attributes.
            self._once.warning(_UNREGISTERED, environment, error=str(error))
