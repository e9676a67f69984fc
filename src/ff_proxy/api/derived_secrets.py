"""Secrets derived per environment, to sign tokens if no other is set (spec/behaviour#token-secrets)."""

import hmac
from collections.abc import Callable, Collection, Iterable
from typing import Final, Protocol

from ff_proxy.model.keys import EnvironmentId, SdkKey, SdkKeyHash, Secret

_SALT: Final = b"ff-proxy token secret 2"
_LENGTH: Final = 32
# How many earlier secrets per environment stay valid.
_FORMER: Final = 16

KeysOf = Callable[[EnvironmentId], Collection[SdkKeyHash] | None]
"""The hashes of an environment's keys; ``None`` while it is not loaded."""


class DerivedSecrets(Protocol):
    """Secrets that this process derives by itself, each valid for one environment only."""

    def signing(self, environment: EnvironmentId) -> Secret | None:
        """The secret to sign with; ``None`` if there is nothing to derive it from."""
        ...

    def accepted(self, environment: EnvironmentId) -> Collection[Secret]:
        """All secrets that may have signed a token of the environment."""
        ...

    def known(self, environment: EnvironmentId) -> bool:
        """Whether the environment is loaded, so that ``accepted`` is complete."""
        ...


def derived_secret(environment: EnvironmentId, material: str) -> Secret:
    """Derive a secret for one environment: the same after every restart, and it does not reveal ``material``.

    HKDF-SHA-256 (RFC 5869) with one block of output, in hexadecimal; the environment is in its ``info``.
    """
    extracted = hmac.digest(_SALT, material.encode("utf-8", "surrogatepass"), "sha256")
    info = b"auth-secret\0" + environment.encode("utf-8", "surrogatepass")
    return Secret(hmac.digest(extracted, info + b"\x01", "sha256")[:_LENGTH].hex())


class SecretsFromServerKeys:
    """Derives a secret from each configured server key, so adding or removing one leaves the others valid.

    A key yields secrets only for the environment that it belongs to, so a leaked key compromises no other
    environment.

    Args:
        keys: the configured server keys.
        keys_of: the keys of an environment.
        used: called with the secret that signs.
    """

    def __init__(
        self,
        keys: Iterable[SdkKey],
        keys_of: KeysOf,
        used: Callable[[EnvironmentId, Secret], object] = lambda _, __: None,
    ) -> None:
        self._material: Final[dict[SdkKeyHash, str]] = {}
        self._configured: frozenset[SdkKeyHash] = frozenset()
        self.configure(keys)
        self._keys_of = keys_of
        self._used = used
        self._made: dict[tuple[EnvironmentId, SdkKeyHash], Secret] = {}

    def configure(self, keys: Iterable[SdkKey]) -> None:
        """Replace the configured keys; tokens signed with earlier ones stay valid."""
        given = {key.hash: key.reveal() for key in keys}
        self._material.update(given)
        self._configured = frozenset(given)

    def signing(self, environment: EnvironmentId) -> Secret | None:
        """See ``DerivedSecrets``: the same on all members with the same keys."""
        found = self.accepted(environment)
        if not found:
            return None
        self._used(environment, found[0])
        return found[0]

    def accepted(self, environment: EnvironmentId) -> list[Secret]:
        """See ``DerivedSecrets``; configured keys first, and empty while the environment is not loaded."""
        held = self._material.keys() & set(self._keys_of(environment) or ())
        return [
            self._secret(environment, key)
            for key in (*sorted(held & self._configured), *sorted(held - self._configured))
        ]

    def known(self, environment: EnvironmentId) -> bool:
        """See ``DerivedSecrets``."""
        return self._keys_of(environment) is not None

    def _secret(self, environment: EnvironmentId, key: SdkKeyHash) -> Secret:
        made = self._made.get((environment, key))
        if made is None:
            made = self._made[environment, key] = derived_secret(environment, self._material[key])
        return made


class SecretsFromKeyHashes:
    """Derives a secret from the hashes of all keys of an environment; for offline mode.

    After the keys change, the earlier secrets stay valid until the process ends.
    """

    def __init__(self, keys_of: KeysOf) -> None:
        self._keys_of = keys_of
        self._former: dict[EnvironmentId, dict[Secret, None]] = {}

    def signing(self, environment: EnvironmentId) -> Secret | None:
        """See ``DerivedSecrets``: the same on all replicas of one directory."""
        held = self._keys_of(environment)
        if not held:
            return None
        secret = derived_secret(environment, "\0".join(sorted(held)))
        former = self._former.setdefault(environment, {})
        former.pop(secret, None)
        former[secret] = None
        while len(former) > _FORMER:
            del former[next(iter(former))]
        return secret

    def accepted(self, environment: EnvironmentId) -> list[Secret]:
        """See ``DerivedSecrets``."""
        self.signing(environment)
        return list(reversed(self._former.get(environment, {})))

    def known(self, environment: EnvironmentId) -> bool:
        """See ``DerivedSecrets``."""
        return self._keys_of(environment) is not None
