"""Authorization: a token grants access to the one environment it was issued for, while its key is valid."""

from typing import Final, Protocol, final

import msgspec

from ff_proxy.api.tokens import GivenUp, Tokens
from ff_proxy.errors import RequestError
from ff_proxy.http.headers import Headers
from ff_proxy.http.response import BAD_GATEWAY, FORBIDDEN, RETRY_SOON, UNAUTHORIZED, UNAVAILABLE
from ff_proxy.model.keys import EnvironmentId, SdkKeyHash, hash_key
from ff_proxy.snapshots.registry import SnapshotRegistry
from ff_proxy.snapshots.snapshot import Snapshot
from ff_proxy.wire.sdk import TokenClaims

_BEARER: Final = b"bearer"
UNDECIDED: Final = "whether the token is good is not known yet"
_NOT_LOADED: Final = "the environment is not loaded yet"
_NOT_CONFIGURED: Final = "the environment of this token is not configured here any more"


class Outdated(RequestError):  # noqa: N818  (reads as what it says of the snapshot)
    """A refusal that may change once this process has caught up with the store on ``environment``."""

    def __init__(
        self, status: int, message: str, environment: EnvironmentId, *, retry_after: int | None = None
    ) -> None:
        super().__init__(status, message, retry_after=retry_after)
        self.environment = environment


class StreamGrant(msgspec.Struct, frozen=True):
    """Permission to open a stream; ``issued_at`` (epoch seconds) is the issue time of ``token``, if any."""

    environment: EnvironmentId
    key: SdkKeyHash | None
    token: bytes = b""
    issued_at: float | None = None


class Access(Protocol):
    """Checks every request against the current snapshots.

    ``headers`` are the request's. ``unverified`` is the status for a token that does not verify: 401 or 403,
    whichever makes the SDKs that call the endpoint authenticate again (spec/sdk-wire#trap-49). Every method
    raises ``RequestError``; ``Outdated`` where catching up with the store could change the answer.
    """

    def read(self, headers: Headers, environment: EnvironmentId, *, unverified: int) -> Snapshot:
        """Authorize reads of ``environment``; raises 401, 403, or 502 while it is not loaded."""
        ...

    def post(self, headers: Headers, environment: EnvironmentId) -> None:
        """Authorize posting usage of ``environment``, loaded or not; raises 401 or 403."""
        ...

    def stream(self, headers: Headers) -> StreamGrant:
        """Authorize a stream; raises 400, 401, 403 or 503, in this order (spec/behaviour#endpoints)."""
        ...


@final
class TokenAccess:
    """The default: requires a bearer token issued by this fleet.

    ``given_up`` says whether an environment that is not loaded will never be.
    """

    def __init__(
        self, tokens: Tokens, snapshots: SnapshotRegistry, given_up: GivenUp = lambda _: False
    ) -> None:
        self._tokens = tokens
        self._snapshots = snapshots
        self._given_up = given_up

    def read(self, headers: Headers, environment: EnvironmentId, *, unverified: int) -> Snapshot:
        """See ``Access``."""
        claims = self._claims(headers, environment, BAD_GATEWAY, unverified)
        snapshot = self._snapshots.get(environment)
        if snapshot is None:
            # SDKs retry after a 502; after a 503 some give up for good.
            raise Outdated(BAD_GATEWAY, _NOT_LOADED, environment, retry_after=RETRY_SOON)
        _check_key(claims, snapshot)
        return snapshot

    def post(self, headers: Headers, environment: EnvironmentId) -> None:
        """See ``Access``."""
        claims = self._claims(headers, environment, UNAVAILABLE, UNAUTHORIZED)
        snapshot = self._snapshots.get(environment)
        if snapshot is not None:
            _check_key(claims, snapshot)

    def stream(self, headers: Headers) -> StreamGrant:
        """See ``Access``."""
        key = stream_key(headers)
        claims = self._verified(headers, UNAVAILABLE, UNAUTHORIZED)
        snapshot = self._snapshots.get(claims.environment)
        if snapshot is None:
            if self._snapshots.environment_of(key) is not None:
                raise RequestError(FORBIDDEN, "the key and the token are for different environments")
            raise Outdated(UNAVAILABLE, _NOT_LOADED, claims.environment, retry_after=RETRY_SOON)
        _check_key(claims, snapshot)
        if key not in snapshot.keys:
            raise Outdated(
                FORBIDDEN, "the key does not belong to the token's environment", claims.environment
            )
        return StreamGrant(claims.environment, key, bearer_token(headers), claims.issued_at)

    def _claims(
        self, headers: Headers, environment: EnvironmentId, undecided: int, unverified: int
    ) -> TokenClaims:
        claims = self._verified(headers, undecided, unverified)
        if claims.environment != environment:
            raise RequestError(FORBIDDEN, "the token is for another environment")
        return claims

    def _verified(self, headers: Headers, undecided: int, unverified: int) -> TokenClaims:
        token = bearer_token(headers)
        if not token:
            raise RequestError(UNAUTHORIZED, "a bearer token is missing")
        claims = self._tokens.verify(token)
        if claims is not None and self._is_given_up(claims.environment):
            raise RequestError(FORBIDDEN, _NOT_CONFIGURED)
        if claims is None:
            if self._tokens.undecided(token):
                raise RequestError(undecided, UNDECIDED, retry_after=RETRY_SOON)
            raise RequestError(unverified, "the token is not valid here")
        return claims

    def _is_given_up(self, environment: EnvironmentId) -> bool:
        return self._snapshots.get(environment) is None and self._given_up(environment)


@final
class OpenAccess:
    """For ``bypass-auth``: requires no token (spec/behaviour#combinations)."""

    def __init__(self, snapshots: SnapshotRegistry) -> None:
        self._snapshots = snapshots

    def read(self, headers: Headers, environment: EnvironmentId, *, unverified: int) -> Snapshot:
        """See ``Access``; raises 404 for an environment that is not loaded."""
        del headers, unverified
        snapshot = self._snapshots.get(environment)
        if snapshot is None:
            raise Outdated(404, "environment not found", environment)
        return snapshot

    def post(self, headers: Headers, environment: EnvironmentId) -> None:
        """See ``Access``."""
        self.read(headers, environment, unverified=UNAUTHORIZED)

    def stream(self, headers: Headers) -> StreamGrant:
        """See ``Access``; the key alone selects the environment."""
        key = stream_key(headers)
        environment = self._snapshots.environment_of(key)
        if environment is None:
            raise RequestError(FORBIDDEN, "the key is not known")
        return StreamGrant(environment, key)


def _check_key(claims: TokenClaims, snapshot: Snapshot) -> None:
    # A token of the Go proxy v1 names no key: it is valid while its environment has any valid key
    # (spec/behaviour#token-secrets).
    good = bool(snapshot.keys) if claims.key is None else claims.key in snapshot.keys
    if not good:
        raise Outdated(FORBIDDEN, "the SDK key of this token is no longer valid", claims.environment)


def bearer_token(headers: Headers) -> bytes:
    """The token of a request; empty if there is none."""
    scheme, _, token = (headers.get(b"authorization") or b"").strip().partition(b" ")
    return token.lstrip() if scheme.lower() == _BEARER else b""


def stream_key(headers: Headers) -> SdkKeyHash:
    """The ``API-Key`` of a stream request; raises ``RequestError`` 400 if it is missing."""
    key = (headers.get(b"api-key") or b"").strip()
    if not key:
        raise RequestError(400, "the API-Key header is missing")
    return hash_key(key.decode("utf-8", "replace"))
