"""Lenient reading of what SDKs send, and the claims of the proxy's tokens.

See spec/sdk-wire#auth-body, spec/sdk-wire#token-format, spec/sdk-wire#target-transport.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Final

import msgspec

from ff_proxy.errors import MalformedJson, RequestError
from ff_proxy.model.environment import EnvironmentInfo
from ff_proxy.model.keys import KEY_HASH_PREFIX, EnvironmentId, SdkKey, SdkKeyHash, read_key_hash
from ff_proxy.model.target import Target
from ff_proxy.wire.config import read_decoded_target
from ff_proxy.wire.stored import MAX_ATTRIBUTES_BYTES, Excess, truncate_target
from ff_proxy.wire.text import clean_text, value_text
from ff_proxy.wire.values import decode_json

_URL_SAFE: Final = bytes.maketrans(b"-_", b"+/")
_PADDING: Final = b"=="
_MAX_SECONDS: Final = 1e15
_MAX_CLAIM: Final = 256
_MICROSECONDS: Final = 10**6
_SERIAL: Final = re.compile(r"([0-9a-f]{1,16})\.[0-9a-f]+")
_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode: Final = msgspec.json.Encoder().encode
# What base64url can turn into "-" or "_" (spec/sdk-wire#token-format rule 3).
_UNCLEAN: Final = re.compile(r"[>?~\x7f]|[^\x00-\x7f]")


class AuthRequest(msgspec.Struct, frozen=True):
    """A request to ``/client/auth``.

    ``target`` is as much of the target as a store keeps; ``excess`` says what was too long.
    ``keep_attributes``: the body has no attributes, so those already stored stay
    (spec/behaviour#upward-queues).
    """

    key: SdkKey
    target: Target | None
    keep_attributes: bool
    excess: Excess | None = None


class TokenClaims(msgspec.Struct, frozen=True):
    """The claims of a token from this proxy or the Go proxy.

    ``key`` is ``None`` in tokens of the Go proxy v1; ``issued_at`` is in epoch seconds.
    """

    environment: EnvironmentId
    key: SdkKeyHash | None
    issued_at: float | None


def read_auth_request(body: bytes) -> AuthRequest:
    """The body of ``POST /client/auth``.

    A target that is unusable or has a blank identifier counts as none, because no SDK retries after a 400.
    Raises ``RequestError`` 400 if the body is not a JSON object or has no key.
    """
    if not body.strip():
        raise RequestError(400, "the request body is empty")
    shortened, cut = _shortened(body)
    try:
        doc = decode_json(shortened)
    except MalformedJson as error:
        raise RequestError(400, f"the request body cannot be read: {error}") from error
    if not isinstance(doc, dict):
        raise RequestError(400, "the request body is not a JSON object")
    key = doc.get("apiKey")
    if not isinstance(key, str) or not key.strip():
        raise RequestError(400, "apiKey is missing")
    described = doc.get("target")
    keep = not isinstance(described, dict) or not isinstance(described.get("attributes"), dict)
    target = _sent_target(described)
    if target is None:
        return AuthRequest(SdkKey(key), None, keep)
    kept, excess = truncate_target(target, sent=len(shortened))
    return AuthRequest(SdkKey(key), kept, keep, excess or cut)


def read_target_header(value: bytes) -> Target | None:
    """Parse a ``Harness-Target`` header (JSON in base64); ``None`` if it holds no target."""
    try:
        return _sent_target(decode_json(base64.b64decode(value.translate(_URL_SAFE) + _PADDING)))
    except (binascii.Error, MalformedJson):
        return None


def write_claims(
    info: EnvironmentInfo, key: SdkKeyHash, issued_at: float, *, serial: str = "", account: str = ""
) -> bytes:
    """Encode the payload of a token for ``key``: ASCII whose base64url contains no ``-`` and no ``_``.

    ``accountID``, ``environmentIdentifier`` and ``clusterIdentifier`` (a numeric text) are always present and
    never empty, because some Python and PHP SDKs do not start without them. If the first two are unknown,
    ``account`` and the environment's id replace them. Other unknown claims are omitted. The key's claim is
    the Go proxy v2's, so that either proxy accepts the other's tokens. ``serial`` makes the token unlike any
    other; with it, ``read_claims`` knows the time of issue to the microsecond.
    """
    known = {
        "environmentIdentifier": _claim(info.identifier) or info.id,
        "project": _claim(info.project),
        "projectIdentifier": _claim(info.project_identifier),
        "accountID": _claim(info.account) or _claim(account) or info.id,
        "organization": _claim(info.organization),
        "organizationIdentifier": _claim(info.organization_identifier),
    }
    cluster = info.cluster
    claims = {
        "environment": clean_text(info.id),
        **{name: clean_text(text) for name, text in known.items() if text},
        "clusterIdentifier": cluster if cluster.isascii() and cluster.isdigit() else "1",
        "apiKey": KEY_HASH_PREFIX + key,
        "iat": int(issued_at),
    } | ({"jti": f"{int(issued_at * _MICROSECONDS):x}.{serial}"} if serial else {})
    return _UNCLEAN.sub(_escaped, _encode(claims).decode()).encode("ascii")


def _escaped(char: re.Match[str]) -> str:
    """A character as JSON can write it in ASCII."""
    units = char[0].encode("utf-16-be")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


def read_claims(payload: bytes) -> TokenClaims | None:
    """Parse the payload of a token with a valid signature; ``None`` if no proxy writes such a payload.

    ``nbf`` and ``iat`` are not compared with a clock, since members' clocks differ. No proxy issues tokens
    that expire, so one with an expiry is refused rather than accepted for ever.
    """
    try:
        claims = decode_json(payload)
    except MalformedJson:
        return None
    if not isinstance(claims, dict) or "exp" in claims:
        return None
    environment = claims.get("environment")
    if not isinstance(environment, str) or not environment:
        return None
    key = None
    if "apiKey" in claims:
        key = read_key_hash(claims["apiKey"])
        if key is None:
            return None
    return TokenClaims(EnvironmentId(environment), key, _issued_at(claims))


def _issued_at(claims: Mapping[str, object]) -> float | None:
    whole, serial = claims.get("iat"), claims.get("jti")
    if isinstance(whole, bool) or not isinstance(whole, int | float) or abs(whole) >= _MAX_SECONDS:
        return None
    # SDKs expect whole seconds in "iat"; a token may be issued in the second in which data changes.
    match = _SERIAL.fullmatch(serial) if isinstance(serial, str) else None
    exact = int(match[1], 16) / _MICROSECONDS if match else whole
    return float(exact if int(exact) == whole else whole)


def _claim(text: str) -> str:
    """A claim, or empty if it is blank or too long for a token."""
    return text if text.strip() and len(text) <= _MAX_CLAIM else ""


def _shortened(body: bytes) -> tuple[bytes, Excess | None]:
    """A long body without what would not be kept: parsing a megabyte would block the event loop."""
    if len(body) <= MAX_ATTRIBUTES_BYTES:
        return body, None
    try:
        fields = _members(body)
        described = _members(fields["target"])
    except (KeyError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return body, None
    kept = {
        name: described[name]
        for name in ("identifier", "name", "anonymous", "attributes")
        if name in described and memoryview(described[name]).nbytes <= MAX_ATTRIBUTES_BYTES
    }
    cut = "attributes" in described and "attributes" not in kept
    if cut:
        kept["attributes"] = msgspec.Raw(b"{}")
    request = {"apiKey": fields.get("apiKey", msgspec.Raw(b"null")), "target": kept}
    return msgspec.json.encode(request), Excess.ATTRIBUTES if cut else None


def _sent_target(doc: object) -> Target | None:
    """Parse a target as SDKs send it: the identifier may be a number."""
    if not isinstance(doc, dict):
        return None
    identifier = doc.get("identifier")
    if isinstance(identifier, int | float):
        doc = doc | {"identifier": value_text(identifier)}
    elif not isinstance(identifier, str) or not identifier.strip():
        return None
    return read_decoded_target(doc)
