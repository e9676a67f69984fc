"""Derived secrets, one per environment: they sign if there is no other (spec/behaviour#token-secrets)."""

import hmac
from collections.abc import Callable, Collection, Iterable
from typing import Final, Protocol

from ff_proxy.model.keys import EnvironmentId, SdkKey, SdkKeyHash, Secret

_SALT: Final = b"ff-proxy token secret 2"
_LENGTH: Final = 32
# How many earlier sets of an environment's keys are remembered.
_FORMER: Final = 16

KeysOf = Callable[[EnvironmentId], Collection[SdkKeyHash] | None]
"""The hashes of an environment's keys; ``None`` while it is not loaded."""


class DerivedSecrets(Protocol):
    """Secrets that this process can work out by itself, each good for one environment only."""

    def signing(self, environment: EnvironmentId) -> Secret | None:
        """The one to sign with; ``None`` if there is nothing to derive it from."""
        ...

    def good(self, environment: EnvironmentId) -> Collection[Secret]:
        """All that may have signed a token of the environment."""
        ...

    def known(self, environment: EnvironmentId) -> bool:
        """Whether the environment is loaded, so that ``good`` is all there is."""
        ...


def derived_secret(environment: EnvironmentId, material: str) -> Secret:
    """A secret of one environment that is the same after every restart, and is not ``material``.

    HKDF-SHA-256 (RFC 5869) with one block of output, in hexadecimal; the environment is its info.
    """
    extracted = hmac.digest(_SALT, material.encode("utf-8", "surrogatepass"), "sha256")
    info = b"auth-secret\0" + environment.encode("utf-8", "surrogatepass")
    return Secret(hmac.digest(extracted, info + b"\x01", "sha256")[:_LENGTH].hex())


class SecretsFromServerKeys:
    """From each configured server key of the environment: one more or one fewer changes nothing.

    Whoever knows a key of one environment can work out secrets of that environment, and of no other: so a
    key counts only where the environment has it.

    Args:
        keys: the configured server keys, of which only these sign.
        keys_of: says which keys an environment has.
        used: is told what is signed with.
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
        """These keys and no others are configured; what former ones have signed stays good meanwhile."""
        given = {key.hash: key.reveal() for key in keys}
        self._material.update(given)
        self._configured = frozenset(given)

    def signing(self, environment: EnvironmentId) -> Secret | None:
        """See ``DerivedSecrets``: equal on all members with the same keys."""
        found = self.good(environment)
        if not found:
            return None
        self._used(environment, found[0])
        return found[0]

    def good(self, environment: EnvironmentId) -> list[Secret]:
        """See ``DerivedSecrets``; configured keys first, and none while the environment is not loaded."""
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
    """From the hashes of all keys of the environment, where nothing else is known: offline.

    What was derived from an earlier set stays good while the process lives.
    """

    def __init__(self, keys_of: KeysOf) -> None:
        self._keys_of = keys_of
        self._former: dict[EnvironmentId, dict[Secret, None]] = {}

    def signing(self, environment: EnvironmentId) -> Secret | None:
        """See ``DerivedSecrets``: equal on all replicas of one directory."""
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

    def good(self, environment: EnvironmentId) -> list[Secret]:
        """See ``DerivedSecrets``."""
        self.signing(environment)
        return list(reversed(self._former.get(environment, {})))

    def known(self, environment: EnvironmentId) -> bool:
        """See ``DerivedSecrets``."""
        return self._keys_of(environment) is not None
