"""What SDKs send, read leniently, and the claims of the proxy's tokens (sdk-contract.md §1.3, §2, §5.2)."""

import base64
import binascii
import json
import math
from typing import Final

import msgspec

from ff_proxy.errors import RequestError
from ff_proxy.model.environment import EnvironmentInfo
from ff_proxy.model.keys import EnvironmentId, SdkKey, SdkKeyHash
from ff_proxy.model.target import Target
from ff_proxy.wire.config import read_target
from ff_proxy.wire.text import clean_text, value_text

_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_URL_SAFE: Final = bytes.maketrans(b"-_", b"+/")
_PADDING: Final = b"=="
_KEY_PREFIX: Final = "auth-key-"
_HASH_DIGITS: Final = 64
_FAR: Final = 1e15
# The ASCII characters that base64url can turn into "-" or "_" (sdk-contract.md §2 rule 3).
_UNCLEAN: Final = str.maketrans({char: f"\\u{ord(char):04x}" for char in ">?~\x7f"})


class AuthRequest(msgspec.Struct, frozen=True):
    """What is asked of ``/client/auth``.

    ``keep_attributes``: the body says nothing of attributes, so those already stored stay (PRODUCT §6.5).
    """

    key: SdkKey
    target: Target | None
    keep_attributes: bool


class TokenClaims(msgspec.Struct, frozen=True):
    """What a token of this or the Go proxy says.

    ``key`` is ``None`` in tokens of the Go proxy v1; ``issued_at`` is in epoch seconds.
    """

    environment: EnvironmentId
    key: SdkKeyHash | None
    issued_at: float | None


def read_auth_request(body: bytes) -> AuthRequest:
    """The body of ``POST /client/auth``.

    A target that cannot be used, or whose identifier is blank, is none: no SDK asks again after a 400.
    Raises ``RequestError`` 400 if the body is no JSON object or names no key.
    """
    if not body.strip():
        raise RequestError(400, "the request body is empty")
    doc = _read_json(body)
    if not isinstance(doc, dict):
        raise RequestError(400, "the request body is not a JSON object")
    key = doc.get("apiKey")
    if not isinstance(key, str) or not key.strip():
        raise RequestError(400, "apiKey is missing")
    described = doc.get("target")
    keep = not isinstance(described, dict) or not isinstance(described.get("attributes"), dict)
    return AuthRequest(SdkKey(key), _named_target(described), keep)


def read_target_header(value: bytes) -> Target | None:
    """The target in a ``Harness-Target`` header (base64 of JSON), or ``None`` if it holds none."""
    try:
        return _named_target(_read_json(base64.b64decode(value.translate(_URL_SAFE) + _PADDING)))
    except (binascii.Error, RequestError):
        return None


def write_claims(info: EnvironmentInfo, key: SdkKeyHash, issued_at: float) -> bytes:
    """The payload of a token for ``key`` of the environment: ASCII whose base64url has no ``-`` and no ``_``.

    Claims that are not known are left out, but for ``clusterIdentifier``, which is always a numeric text.
    The key is claimed as the Go proxy v2 does it, so that either proxy takes the other's tokens.
    """
    known = {
        "environmentIdentifier": info.identifier,
        "project": info.project,
        "projectIdentifier": info.project_identifier,
        "accountID": info.account,
        "organization": info.organization,
        "organizationIdentifier": info.organization_identifier,
    }
    cluster = info.cluster
    claims = {
        "environment": info.id,
        **{name: clean_text(text) for name, text in known.items() if text},
        "clusterIdentifier": cluster if cluster.isascii() and cluster.isdigit() else "1",
        "apiKey": _KEY_PREFIX + key,
        "iat": int(issued_at),
    }
    return json.dumps(claims, ensure_ascii=True, separators=(",", ":")).translate(_UNCLEAN).encode("ascii")


def read_claims(payload: bytes) -> TokenClaims | None:
    """The payload of a token whose signature was found good; ``None`` if no proxy writes such a one.

    ``nbf`` and ``iat`` are not compared with any clock, since members' clocks differ. A token that
    expires is none of a proxy's: it is not taken, rather than taken for ever.
    """
    try:
        claims = msgspec.json.decode(payload)
    except _UNREADABLE:
        return None
    if not isinstance(claims, dict) or "exp" in claims:
        return None
    environment = claims.get("environment")
    if not isinstance(environment, str) or not environment:
        return None
    key = None
    if "apiKey" in claims:
        key = _key_hash(claims["apiKey"])
        if key is None:
            return None
    return TokenClaims(EnvironmentId(environment), key, _seconds(claims.get("iat")))


def _seconds(claim: object) -> float | None:
    if isinstance(claim, bool) or not isinstance(claim, int | float):
        return None
    return float(claim) if abs(claim) < _FAR else None


def _key_hash(claim: object) -> SdkKeyHash | None:
    if not isinstance(claim, str):
        return None
    digits = claim.removeprefix(_KEY_PREFIX)
    return SdkKeyHash(digits) if len(digits) == _HASH_DIGITS else None


def _named_target(doc: object) -> Target | None:
    if not isinstance(doc, dict):
        return None
    identifier = doc.get("identifier")
    if isinstance(identifier, int | float) and math.isfinite(identifier):
        doc = doc | {"identifier": value_text(identifier)}
    elif not isinstance(identifier, str) or not identifier.strip():
        return None
    target = read_target(doc)
    if target is None or target.name:
        return target
    return msgspec.structs.replace(target, name=target.identifier)


def _read_json(body: bytes) -> object:
    try:
        return msgspec.json.decode(body)
    except _UNREADABLE:
        pass
    try:
        # JavaScript cuts text between surrogates and writes them raw: JSON that strict readers refuse.
        return clean_text(json.loads(body.decode("utf-8", "surrogatepass"), strict=False))
    except (ValueError, RecursionError) as unreadable:
        raise RequestError(400, "the request body is not readable JSON") from unreadable
