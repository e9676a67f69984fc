"""Tokens as Harness issues them (spec/sdk-wire#token-format)."""

from typing import Final

import jwt
import msgspec

from ff_proxy.model.keys import EnvironmentId, SdkKeyHash
from ff_proxy.sandbox.environment import Environment
from ff_proxy.sandbox.keys import Key

_ALGORITHM: Final = "HS256"


class Claims(msgspec.Struct, frozen=True):
    """The claims that the sandbox reads: environment, and hash of the key."""

    environment: EnvironmentId
    key: SdkKeyHash


class Tokens:
    """Issues and checks tokens, signed with ``secret``; they do not expire, since no SDK renews a token."""

    def __init__(self, secret: str) -> None:
        self._secret = secret

    def issue(self, environment: Environment, key: Key) -> str:
        """A token with every claim of Harness's, and the hash of ``key``, so that it can be revoked."""
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
        return jwt.encode(claims, self._secret, algorithm=_ALGORITHM)

    def read(self, token: str) -> Claims | None:
        """The claims of a token issued here, else ``None``."""
        try:
            claims = jwt.decode(token, self._secret, algorithms=[_ALGORITHM])
        except jwt.InvalidTokenError:
            return None
        return Claims(EnvironmentId(claims["environment"]), SdkKeyHash(claims["key"]))
