"""Which secrets sign a process's tokens where none is configured (spec/behaviour#token-secrets)."""

from collections.abc import Awaitable, Callable, Collection
from functools import partial
from typing import Final, Protocol, runtime_checkable

from ff_proxy.api.derived_secrets import DerivedSecrets, SecretsFromKeyHashes, SecretsFromServerKeys
from ff_proxy.config.records import (
    MemoryStoreOptions,
    OfflineOptions,
    OnlineOptions,
    RedisStoreOptions,
    TemporaryStoreOptions,
    TokenOptions,
)
from ff_proxy.errors import StoreUnavailable
from ff_proxy.model.clock import Clock
from ff_proxy.model.keys import EnvironmentId, SdkKeyHash, Secret
from ff_proxy.runtime.random_names import random_name
from ff_proxy.snapshots.registry import SnapshotRegistry
from ff_proxy.store.protocol import SecretStore
from ff_proxy.telemetry import Telemetry

_RETRY_SECONDS: Final = 1.0
# Members of a fleet look every two seconds whether their secret is still there.
_OTHERS_FIRST_SECONDS: Final = 3.0
_LOOK_SECONDS: Final = 0.1
# A store that ends with the process keeps no secret.
_PASSING = MemoryStoreOptions | TemporaryStoreOptions

AwaitedSecret = Callable[[], Awaitable[Secret]]
Used = Callable[[EnvironmentId, Secret], object]


@runtime_checkable
class FleetSecrets(SecretStore, Protocol):
    """A secret that others may know already."""

    async def stored(self) -> Secret | None:
        """The secret, if the store has it."""
        ...


def unused(environment: EnvironmentId, secret: Secret) -> None:
    """For derived secrets that nobody else has to be told of."""
    del environment, secret


def awaited_secret(
    options: OnlineOptions | OfflineOptions, secrets: SecretStore, clock: Clock, telemetry: Telemetry
) -> AwaitedSecret | None:
    """How to come by the secret; ``None`` if there are only derived ones."""
    tokens = options.serving.tokens
    if tokens.secret is None and isinstance(options.store, _PASSING):
        return None
    return partial(signing_secret, tokens, secrets, clock, telemetry)


def derived_secrets(
    options: OnlineOptions | OfflineOptions, snapshots: SnapshotRegistry, used: Used = unused
) -> DerivedSecrets | None:
    """What signs while the secret is awaited, or where there is none; ``None`` if that is not wanted."""

    def keys_of(environment: EnvironmentId) -> Collection[SdkKeyHash] | None:
        snapshot = snapshots.get(environment)
        return None if snapshot is None else snapshot.keys

    if options.serving.tokens.secret is not None:
        return None
    if isinstance(options, OnlineOptions):
        return SecretsFromServerKeys(options.upstream.api_keys, keys_of, used)
    if isinstance(options.store, _PASSING | RedisStoreOptions):
        return SecretsFromKeyHashes(keys_of)
    return None


async def signing_secret(
    tokens: TokenOptions, secrets: SecretStore, clock: Clock, telemetry: Telemetry
) -> Secret:
    """What signs tokens: the configured secret, or the one in the store, waited for.

    In an emptied store whoever knows the secret puts it back: another one is made up only if nobody does.
    """
    if tokens.secret is not None:
        return tokens.secret
    once = telemetry.once("store")
    patience = _OTHERS_FIRST_SECONDS
    while True:
        try:
            if isinstance(secrets, FleetSecrets):
                stored = await secrets.stored()
                if stored is not None:
                    return stored
                if patience > 0:
                    patience -= _LOOK_SECONDS
                    await clock.sleep(_LOOK_SECONDS)
                    continue
            return await secrets.auth_secret(Secret(random_name()))
        except StoreUnavailable as error:
            once.trouble("waiting for the store", error)
            await clock.sleep(_RETRY_SECONDS)
