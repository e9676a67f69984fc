"""The secret that signs an online proxy's tokens, where none is configured (PRODUCT §6.1)."""

from ff_proxy.app.stores import signing_secret
from ff_proxy.config.records import MemoryStoreOptions, OnlineOptions, TemporaryStoreOptions
from ff_proxy.model.clock import Clock
from ff_proxy.model.keys import Secret
from ff_proxy.store.protocol import SecretStore
from ff_proxy.telemetry import Telemetry
from ff_proxy.web.secret import derived_secret


async def online_secret(
    options: OnlineOptions, secrets: SecretStore, clock: Clock, telemetry: Telemetry
) -> Secret:
    """One that a restart keeps: configured, from the store, or derived if the store ends with us."""
    tokens, upstream = options.serving.tokens, options.upstream
    if tokens.secret is None and isinstance(options.store, MemoryStoreOptions | TemporaryStoreOptions):
        return derived_secret(upstream.account, upstream.admin_token, upstream.api_keys)
    return await signing_secret(tokens, secrets, clock, telemetry)
