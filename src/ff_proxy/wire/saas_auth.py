"""Authentication with Harness: the request body, the token in the response, and its claims.

Harness's tokens are decoded but not verified: they come over TLS from their issuer, and only Harness has the
secret (spec/sdk-wire#token-format).
"""

import base64

import msgspec

from ff_proxy.errors import MalformedJson
from ff_proxy.model.environment import EnvironmentInfo
from ff_proxy.model.keys import EnvironmentId, SdkKey, Secret
from ff_proxy.model.target import Target
from ff_proxy.wire.values import decode_json

_encode = msgspec.json.Encoder().encode


class _AuthTarget(msgspec.Struct):
    identifier: str
    name: str
    anonymous: bool
    attributes: dict[str, object]


class _AuthRequest(msgspec.Struct, rename="camel", omit_defaults=True):
    api_key: str
    target: _AuthTarget | None = None


def auth_body(key: SdkKey, target: Target | None = None) -> bytes:
    """Encode the body of ``/client/auth``; if there is a ``target``, Harness also registers it.

    Raises:
        ValueError: JSON cannot represent the key or the target.
    """
    described = None
    if target is not None:
        described = _AuthTarget(
            identifier=target.identifier,
            name=target.name or target.identifier,
            anonymous=target.anonymous,
            attributes=dict(target.attributes),
        )
    return _encode(_AuthRequest(api_key=key.reveal(), target=described))


def read_auth_token(body: bytes) -> Secret | None:
    """The token in a response of ``/client/auth``; ``None`` if there is none."""
    try:
        answer = decode_json(body)
    except MalformedJson:
        return None
    token = answer.get("authToken") if isinstance(answer, dict) else None
    return Secret(token) if isinstance(token, str) and token else None


def read_claims(token: Secret) -> EnvironmentInfo | None:
    """The environment that Harness's token describes; ``None`` if it names none.

    A missing cluster is ``"1"``; other claims that are missing or not text are empty.
    """
    try:
        payload = token.reveal().split(".")[1]
        # Padding is optional on the wire; extra padding is ignored.
        claims = decode_json(base64.urlsafe_b64decode(payload + "=="))
    except (IndexError, ValueError, MalformedJson):
        return None
    if not isinstance(claims, dict):
        return None

    def text(name: str) -> str:
        claim = claims.get(name)
        return claim if isinstance(claim, str) else ""

    if not text("environment"):
        return None
    cluster = claims.get("clusterIdentifier")
    return EnvironmentInfo(
        id=EnvironmentId(text("environment")),
        identifier=text("environmentIdentifier"),
        project=text("project"),
        project_identifier=text("projectIdentifier"),
        organization=text("organization"),
        organization_identifier=text("organizationIdentifier"),
        account=text("accountID"),
        cluster=str(cluster) if isinstance(cluster, int) else text("clusterIdentifier") or "1",
    )
