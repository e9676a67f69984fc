"""Tokens as Harness issues them (spec/sdk-wire#token-format)."""

from typing import Final

import jwt
import msgspec

from ff_proxy.model.keys import EnvironmentId, SdkKeyHash
from ff_proxy.sandbox.environment import Environment
from ff_proxy.sandbox.keys import Key

_ALGORITHM: Final = "HS256"
# Always the same, so that a restarted sandbox accepts the tokens that it issued before.
_SECRET: Final = "the-sandbox-signs-with-a-secret-that-is-not-one"  # noqa: S105  (says so itself)


class Claims(msgspec.Struct, frozen=True):
    """The claims that the sandbox reads: environment, and hash of the key."""

    environment: EnvironmentId
    key: SdkKeyHash


def issue_token(environment: Environment, key: Key) -> str:
    """A token with every claim of Harness's, and the hash of ``key``, so that it can be revoked.

    It does not expire, since no SDK renews a token.
    """
    info = environment.info
    claims = {
        "environment": info.id,
        "environmentIdentifier": info.identifier,
        "project": info.project,
        "projectIdentifier": info.project_identifier,
        "accountID": info.account,
        "organization": info.organization,
        "organizationIdentifier": info.organization_identifier,
        "clusterIdentifier": info.cluster,
        "key_type": key.type,
        "key": key.hash,
    }
    return jwt.encode(claims, _SECRET, algorithm=_ALGORITHM)


def read_token(token: str) -> Claims | None:
    """The claims of a token that a sandbox issued, else ``None``."""
    try:
        claims = jwt.decode(token, _SECRET, algorithms=[_ALGORITHM])
    except jwt.InvalidTokenError:
        return None
    return Claims(EnvironmentId(claims["environment"]), SdkKeyHash(claims["key"]))
