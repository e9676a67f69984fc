"""Harness's API for SDKs, used as an SDK would (spec/sdk-wire#requests)."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Final
from urllib.parse import quote

from ff_proxy.errors import REJECTING_BODY, UpstreamMalformed, UpstreamRefused
from ff_proxy.model.keys import EnvironmentId, SdkKey
from ff_proxy.model.target import Target
from ff_proxy.upstream.credentials import Session
from ff_proxy.upstream.responses import Caller, describe_body, read_json, read_list, refuse_page
from ff_proxy.upstream.transport import DEFINITE, MEBIBYTE, Request
from ff_proxy.wire.saas_auth import auth_body, read_auth_token, read_claims

_AUTH_LIMIT: Final = MEBIBYTE
_LIST_LIMIT: Final = 256 * MEBIBYTE
_ITEM_SECONDS: Final = 10.0
# A list must begin in time, but may take longer to arrive.
_LIST_SECONDS: Final = 10.0
_LIST_TOTAL_SECONDS: Final = 120.0
_POST_SECONDS: Final = 60.0
_DEFINITE_FOR_POSTS: Final = DEFINITE | REJECTING_BODY
_JSON: Final = {"Content-Type": "application/json", "Accept": "application/json"}


class ClientApi:
    """Typed calls of the client, stream and metrics services.

    Args:
        caller: sends requests.
        client_service: base URL for authentication and registration.
        base_url: base URL for flags, segments and the stream (option ``sdk-base-url``).
        metric_service: base URL for usage.
        version: this program's version, sent to Harness.

    Every method raises ``UpstreamError``.
    """

    def __init__(
        self, caller: Caller, *, client_service: str, base_url: str, metric_service: str, version: str
    ) -> None:
        self._caller = caller
        self._client_service = client_service.rstrip("/")
        self._base_url = base_url.rstrip("/")
        self._metric_service = metric_service.rstrip("/")
        self._sdk_info = f"Proxy {version}"

    async def authenticate(
        self, key: SdkKey, target: Target | None = None, *, deadline: float = 30.0
    ) -> Session:
        """Authenticate ``key``; Harness also registers a ``target``. ``deadline`` is in seconds."""
        try:
            body = auth_body(key, target)
        except ValueError as error:
            raise UpstreamRefused("JSON cannot represent the key or the target", status=404) from error
        request = Request(
            "POST",
            f"{self._client_service}/client/auth",
            "/client/auth",
            headers=_JSON | {"Harness-SDK-Info": self._sdk_info},
            body=body,
            limit=_AUTH_LIMIT,
            deadline=deadline,
            # Without a target, a 400 says nothing about the key (spec/behaviour#key-checks); with one, it
            # is about the target.
            definite=DEFINITE if target is None else _DEFINITE_FOR_POSTS,
        )
        reply = await self._caller.call(request)
        token = read_auth_token(reply.body)
        if token is None:
            raise UpstreamMalformed(f"{request}: the response has no token: {describe_body(reply)}")
        environment = read_claims(token)
        if environment is None:
            raise UpstreamMalformed(f"{request}: the token has no environment")
        return Session(key, environment, token)

    async def flags(self, session: Session) -> list[object]:
        """Every flag as Harness sends it."""
        request = self._get(
            session, "feature-configs", limit=_LIST_LIMIT, deadline=_LIST_SECONDS, total=_LIST_TOTAL_SECONDS
        )
        return read_list(request, await self._caller.call(request))

    async def flag(self, session: Session, identifier: str) -> object:
        """One flag as Harness sends it; ``UpstreamRefused`` with status 404 if it does not exist."""
        request = self._get(session, "feature-configs", identifier, deadline=_ITEM_SECONDS)
        return read_json(request, await self._caller.call(request))

    async def segments(self, session: Session, *, and_rules: bool) -> list[object]:
        """Every segment in the form for a caller with ``rules=v2`` (``and_rules``) or without.

        See spec/behaviour#segment-forms.
        """
        request = self._get(
            session,
            "target-segments",
            and_rules=and_rules,
            limit=_LIST_LIMIT,
            deadline=_LIST_SECONDS,
            total=_LIST_TOTAL_SECONDS,
        )
        return read_list(request, await self._caller.call(request))

    async def segment(self, session: Session, identifier: str, *, and_rules: bool) -> object:
        """One segment in either form; ``UpstreamRefused`` with status 404 if it does not exist."""
        request = self._get(
            session, "target-segments", identifier, and_rules=and_rules, deadline=_ITEM_SECONDS
        )
        return read_json(request, await self._caller.call(request))

    async def probe(self, session: Session, deadline: float) -> None:
        """Request a flag that does not exist; ``UpstreamRefused`` with status 404 means Harness works."""
        request = self._get(session, "feature-configs", "ff-proxy-probe", deadline=deadline)
        await self._caller.call(request)

    def stream(self, session: Session, idle: float) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Open the environment's event stream; ``idle`` seconds of silence end it."""
        request = Request(
            "GET",
            f"{self._base_url}/stream",
            "/stream",
            environment=session.environment.id,
            query={"cluster": session.environment.cluster},
            headers=self._headers(session)
            | {
                "API-Key": session.key.reveal(),
                "Accept": "text/event-stream",
                "Accept-Encoding": "identity",
                "Cache-Control": "no-cache",
            },
        )
        return self._caller.stream(request, idle)

    async def post_usage(self, session: Session, body: bytes) -> None:
        """Post a usage body; ``UpstreamMalformed`` for a web page with 200, such as a captive portal's."""
        request = Request(
            "POST",
            f"{self._metric_service}/metrics/{_segment(session.environment.id)}",
            "/metrics/{env}",
            environment=session.environment.id,
            query={"cluster": session.environment.cluster},
            headers=self._headers(session) | _JSON,
            body=body,
            limit=MEBIBYTE,
            deadline=_POST_SECONDS,
            definite=_DEFINITE_FOR_POSTS,
        )
        refuse_page(request, await self._caller.call(request))

    def _get(
        self,
        session: Session,
        kind: str,
        identifier: str | None = None,
        *,
        and_rules: bool = False,
        limit: int = 16 * MEBIBYTE,
        deadline: float,
        total: float | None = None,
    ) -> Request:
        rules = {"rules": "v2"} if and_rules else {}
        tail, template = ("", "") if identifier is None else (f"/{_segment(identifier)}", "/{id}")
        environment: EnvironmentId = session.environment.id
        return Request(
            "GET",
            f"{self._base_url}/client/env/{_segment(environment)}/{kind}{tail}",
            f"/client/env/{{env}}/{kind}{template}",
            environment=environment,
            query={"cluster": session.environment.cluster} | rules,
            headers=self._headers(session) | {"Accept": "application/json"},
            limit=limit,
            deadline=deadline,
            total=total,
        )

    def _headers(self, session: Session) -> dict[str, str]:
        account = session.environment.account
        return {
            "Authorization": f"Bearer {session.token.reveal()}",
            "Harness-EnvironmentID": session.environment.id,
            "Harness-SDK-Info": self._sdk_info,
        } | ({"Harness-AccountID": account} if account else {})


def _segment(text: str) -> str:
    """Quote ``text`` as one path segment; escape ``.`` and ``..`` too."""
    if text in {".", ".."}:
        return text.replace(".", "%2E")
    return quote(text, safe="", errors="replace")
