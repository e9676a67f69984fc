"""Which secrets sign a process's tokens (spec/behaviour#token-secrets)."""

from collections.abc import Collection
from dataclasses import replace
from functools import partial
from secrets import token_hex
from typing import Final, Protocol, runtime_checkable

from ff_proxy.api.derived_secrets import DerivedSecrets, SecretsFromKeyHashes, SecretsFromServerKeys
from ff_proxy.api.ports import Signing
from ff_proxy.app.options_reload import KEY_FLAGS, OptionsReload, upstream_changes
from ff_proxy.app.process import ProcessContext
from ff_proxy.config.records import (
    MemoryStoreOptions,
    OfflineOptions,
    OnlineOptions,
    ProxyOptions,
    RedisStoreOptions,
    TemporaryStoreOptions,
    TokenOptions,
)
from ff_proxy.errors import StoreUnavailable
from ff_proxy.model.keys import EnvironmentId, SdkKeyHash, Secret
from ff_proxy.snapshots.registry import SnapshotRegistry
from ff_proxy.store.protocol import SecretStore

_RETRY_SECONDS: Final = 1.0
# Members of a fleet look every two seconds whether their secret is still there.
_OTHERS_FIRST_SECONDS: Final = 3.0
_LOOK_SECONDS: Final = 0.1
# A store that ends with the process keeps no secret.
_PASSING = MemoryStoreOptions | TemporaryStoreOptions


@runtime_checkable
class FleetSecrets(SecretStore, Protocol):
    """A store whose secrets the members of a fleet share."""

    async def stored(self) -> Secret | None:
        """The secret, if the store has it."""
        ...

    def others(self) -> Collection[Secret]:
        """What other members sign with, if not with the same secret."""
        ...

    def bound(self, environment: EnvironmentId) -> Collection[Secret]:
        """The same, each valid for one environment only."""
        ...

    def signed_with(self, environment: EnvironmentId, secret: Secret) -> None:
        """This process signs with a derived secret: tell the other members."""
        ...


def make_signing(
    options: ProxyOptions, secrets: SecretStore, snapshots: SnapshotRegistry, context: ProcessContext
) -> Signing:
    """The configured secret, or the store's, and those that are derived meanwhile."""
    tokens = options.serving.tokens
    awaited = tokens.secret is not None or not isinstance(options.store, _PASSING)
    fleet = secrets if isinstance(secrets, FleetSecrets) else None
    signing = Signing(
        secret=partial(signing_secret, tokens, secrets, context) if awaited else None,
        keyless=tokens.secret is not None,
        derived=_derived(options, snapshots, fleet, context.reload),
    )
    return signing if fleet is None else replace(signing, others=fleet.others, bound=fleet.bound)


def _derived(
    options: ProxyOptions,
    snapshots: SnapshotRegistry,
    fleet: FleetSecrets | None,
    reload: OptionsReload | None,
) -> DerivedSecrets | None:
    def keys_of(environment: EnvironmentId) -> Collection[SdkKeyHash] | None:
        snapshot = snapshots.get(environment)
        return None if snapshot is None else snapshot.keys

    if options.serving.tokens.secret is not None:
        return None
    if isinstance(options, OnlineOptions):
        used = () if fleet is None else (fleet.signed_with,)
        derived = SecretsFromServerKeys(options.upstream.api_keys, keys_of, *used)
        if reload is not None:
            reload.add(KEY_FLAGS, upstream_changes(lambda new: derived.configure(new.api_keys)))
        return derived
    if isinstance(options, OfflineOptions) and isinstance(options.store, _PASSING | RedisStoreOptions):
        return SecretsFromKeyHashes(keys_of)
    return None


async def signing_secret(tokens: TokenOptions, secrets: SecretStore, context: ProcessContext) -> Secret:
    """What signs tokens: the configured secret, or the one in the store, waited for.

    A member that knows the secret of an emptied store puts it back: a new one is made only if none does.
    """
    clock = context.clock
    if tokens.secret is not None:
        return tokens.secret
    once = context.telemetry.once("store")
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
            return await secrets.auth_secret(Secret(token_hex(16)))
        except StoreUnavailable as error:
            once.trouble("waiting for the store", error)
            await clock.sleep(_RETRY_SECONDS)
