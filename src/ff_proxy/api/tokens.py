"""The proxy's own tokens: issued by ``/client/auth``, verified on every request (spec/behaviour#tokens)."""

import base64
import binascii
import hmac
from collections.abc import Callable, Collection, Iterator
from itertools import count
from typing import Final

import jwt
from jwt.algorithms import HMACAlgorithm

from ff_proxy.api.derived_secrets import DerivedSecrets
from ff_proxy.bounded import BoundedMap
from ff_proxy.errors import RequestError
from ff_proxy.http.response import RETRY_SOON, UNAVAILABLE
from ff_proxy.model.clock import Clock
from ff_proxy.model.environment import EnvironmentInfo
from ff_proxy.model.keys import EnvironmentId, SdkKeyHash, Secret
from ff_proxy.model.memory import LEAST_SHARES
from ff_proxy.wire.sdk import TokenClaims, read_claims, write_claims

GivenUp = Callable[[EnvironmentId], bool]
"""Whether an environment that is not loaded will not be, since no configured key is of it."""

AWAITED: Final = "the secret that signs tokens is not read from the store yet"

_ALGORITHM: Final = "HS256"
# {"alg":"HS256","typ":"JWT"}. Tokens are written here and only read by the library: it would take 15 % of the
# time of an authentication.
_HEADER: Final = b"eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9"
# No token starts with this prefix, so a ticket's signature never verifies as a token's.
_NO_TOKEN: Final = b"ff-proxy ticket\0"
_LONGEST: Final = 8192
_PADDING: Final = b"=="


class _AnySecret(HMACAlgorithm):
    """HS256 that accepts any secret.

    The library rejects short secrets and ones that look like public keys. Those checks protect programs
    that accept several algorithms; here a fleet's existing secret must keep working.
    """

    def prepare_key(self, key: str | bytes) -> bytes:
        return key.encode() if isinstance(key, str) else key

    def check_key_length(self, key: bytes) -> str | None:
        del key
        return None


class Tokens:
    """Issues and verifies tokens.

    Args:
        secret: signs tokens; the same on every member of a fleet. Avoid changing it: SDKs never renew tokens.
            ``None`` if it is not known yet, or if there are only ``derived`` ones.
        clock: the time of issue.
        keyless: accept tokens that name no key, as the Go proxy v1 issued them
            (spec/behaviour#token-secrets).
        others: different secrets that other members sign with; their tokens are accepted too.
        bound: the same, each valid for one environment only.
        derived: secrets of single environments: always accepted, and they sign while ``secret`` is not known.
        awaiting: whether ``adopt`` is still to be called.
        given_up: whether an environment that is not loaded will never be.
        budget: bytes of cached tokens.
        dropped: called with the number of evicted tokens.
        serials: make every token unique; should differ between processes.
        account: the account claim for environments whose own account is not known.
    """

    def __init__(
        self,
        secret: Secret | None,
        clock: Clock,
        *,
        keyless: bool = False,
        others: Callable[[], Collection[Secret]] = tuple,
        bound: Callable[[EnvironmentId], Collection[Secret]] = lambda _: (),
        derived: DerivedSecrets | None = None,
        awaiting: bool = False,
        given_up: GivenUp = lambda _: False,
        budget: int = LEAST_SHARES.tokens,
        dropped: Callable[[int], object] = lambda _: None,
        serials: Iterator[int] | None = None,
        account: str = "",
    ) -> None:
        self._secret = None if secret is None else _bytes(secret)
        self._others = others
        self._bound = bound
        self._derived = derived
        self._awaiting = awaiting
        self._given_up = given_up
        self._clock = clock
        self._keyless = keyless
        self._serials = count() if serials is None else serials
        self._verified: BoundedMap[bytes, TokenClaims] = BoundedMap(budget, dropped=dropped)
        self._account = account
        self._jws: Final = jwt.PyJWS(algorithms=[_ALGORITHM])
        self._jws.unregister_algorithm(_ALGORITHM)
        self._jws.register_algorithm(_ALGORITHM, _AnySecret(HMACAlgorithm.SHA256))

    def adopt(self, secret: Secret) -> None:
        """Set the awaited secret: it signs from now on."""
        self._secret = _bytes(secret)
        self._awaiting = False

    def issue(self, info: EnvironmentInfo, key: SdkKeyHash) -> str:
        """A token for ``key`` that never expires; its payload has no character that an SDK misreads.

        Each token is unique: it identifies what an SDK has fetched (spec/behaviour#stream-pacing).
        Raises ``RequestError`` 503 while no secret is known.
        """
        serial = f"{next(self._serials):x}"
        payload = write_claims(info, key, self._clock.wall(), serial=serial, account=self._account)
        content = b"%b.%b" % (_HEADER, _base64url(payload))
        signature = hmac.digest(self._signing(info.id), content, "sha256")
        return (b"%b.%b" % (content, _base64url(signature))).decode("ascii")

    def verify(self, token: bytes) -> TokenClaims | None:
        """The claims of a token, or ``None`` if it was not issued by this fleet.

        Does not check that the token's key is still valid: that can change with every request.
        """
        claims = self._verified.get(token)
        if claims is None and len(token) <= _LONGEST:
            claims = self._read(token)
            if claims is not None:
                self._verified.put(token, claims)
        return claims

    def sign(self, environment: EnvironmentId, content: bytes) -> bytes:
        """Sign something other than a token; raises ``RequestError`` 503 while no secret is known."""
        return hmac.digest(self._signing(environment), _NO_TOKEN + content, "sha256")

    def signed(self, environment: EnvironmentId, content: bytes, signature: bytes) -> bool:
        """Whether ``signature`` was made by ``sign`` on a member of this fleet."""
        return any(
            hmac.compare_digest(hmac.digest(secret, _NO_TOKEN + content, "sha256"), signature)
            for secret in self._candidates(environment)
        )

    def undecided(self, token: bytes) -> bool:
        """Whether a token that ``verify`` rejects may verify soon.

        True while a secret is awaited, or while the keys that the environment's secret is derived from are
        not loaded.
        """
        if self._awaiting:
            return True
        if self._derived is None or len(token) > _LONGEST:
            return False
        environment = _claimed_environment(token.rpartition(b".")[0])
        if environment is None or self._derived.known(environment):
            return False
        return not self._given_up(environment)

    def _read(self, token: bytes) -> TokenClaims | None:
        secret = self._signed_with(token)
        if secret is None:
            return None
        try:
            payload = self._jws.decode(token, secret, algorithms=[_ALGORITHM])
        except (jwt.InvalidTokenError, NotImplementedError, ValueError):
            return None
        claims = read_claims(payload)
        return claims if claims is not None and (claims.key is not None or self._keyless) else None

    def _signing(self, environment: EnvironmentId) -> bytes:
        if self._secret is not None:
            return self._secret
        secret = None if self._derived is None else self._derived.signing(environment)
        if secret is None:
            raise RequestError(UNAVAILABLE, AWAITED, retry_after=RETRY_SOON)
        return _bytes(secret)

    def _candidates(self, environment: EnvironmentId | None) -> Iterator[bytes]:
        if self._secret is not None:
            yield self._secret
        yield from map(_bytes, self._others())
        if environment is not None:
            if self._derived is not None:
                yield from map(_bytes, self._derived.accepted(environment))
            yield from map(_bytes, self._bound(environment))

    def _signed_with(self, token: bytes) -> bytes | None:
        """The secret that verifies the signature, if any; checked before decoding to keep forgeries cheap."""
        content, _, signature = token.rpartition(b".")
        try:
            given = base64.urlsafe_b64decode(signature + _PADDING)
        except binascii.Error:
            return None
        for secret in self._candidates(_claimed_environment(content)):
            if hmac.compare_digest(hmac.digest(secret, content, "sha256"), given):
                return secret
        return None


def _claimed_environment(content: bytes) -> EnvironmentId | None:
    """The environment that an unverified token claims."""
    payload = content.rpartition(b".")[2]
    try:
        claims = read_claims(base64.urlsafe_b64decode(payload + _PADDING))
    except binascii.Error:
        return None
    return None if claims is None else claims.environment


def _base64url(content: bytes) -> bytes:
    return base64.urlsafe_b64encode(content).rstrip(b"=")


def _bytes(secret: Secret) -> bytes:
    return secret.reveal().encode("utf-8", "surrogatepass")
