"""Writing one environment: one write at a time, and the rules by which its keys come and go."""

import asyncio
from collections.abc import Collection, Mapping

from ff_proxy.model.environment import EnvironmentConfig, EnvironmentInfo, Item
from ff_proxy.model.keys import EnvironmentId, SdkKeyHash
from ff_proxy.store.protocol import ConfigWriter, DropItem, PutItem, SetKeys


class KeyRing:
    """The keys an environment has, by what SaaS lists (PRODUCT §6.4)."""

    def __init__(self, keys: Collection[SdkKeyHash] = ()) -> None:
        self._keys = frozenset(keys)
        self._missed: frozenset[SdkKeyHash] = frozenset()

    @property
    def keys(self) -> frozenset[SdkKeyHash]:
        """The keys that count now."""
        return self._keys

    @property
    def missed(self) -> frozenset[SdkKeyHash]:
        """Keys that the last complete listing did not hold; missing once more revokes them."""
        return self._missed

    def accept(self, key: SdkKeyHash) -> None:
        """SaaS itself accepted the key."""
        self._keys |= {key}
        self._missed -= {key}

    def listed(self, listing: Collection[SdkKeyHash], vouched: Collection[SdkKeyHash] = ()) -> None:
        """Take in a complete listing that is not empty; ``vouched`` keys are good although it lacks them."""
        missing = self._keys.difference(listing, vouched)
        revoked = missing & self._missed
        self._keys = (self._keys | frozenset(listing)) - revoked
        self._missed = missing - revoked


class EnvironmentWriter:
    """All that is written to one environment. Its methods raise ``StoreUnavailable``.

    Args:
        configs: the store.
        environment: which one.
        ring: its keys; every load carries them.
        loaded: whether the store holds the environment already; ``loaded`` stays ``True`` afterwards.
    """

    def __init__(
        self, configs: ConfigWriter, environment: EnvironmentId, ring: KeyRing, *, loaded: bool
    ) -> None:
        self._configs = configs
        self._environment = environment
        self._writing = asyncio.Lock()
        self.ring = ring
        self.loaded = loaded

    async def held(self) -> EnvironmentConfig | None:
        """What the store holds now."""
        return await self._configs.environment(self._environment)

    async def load(
        self, info: EnvironmentInfo, flags: Mapping[str, Item], segments: Mapping[str, Item]
    ) -> None:
        """The whole environment is this; what differs from the store becomes events there."""
        async with self._writing:
            # The keys are read inside the lock: a key accepted meanwhile must not be written over.
            await self._configs.replace(EnvironmentConfig(info, flags, segments, self.ring.keys))
        self.loaded = True

    async def apply(self, edit: PutItem | DropItem) -> bool:
        """Write one item; ``False`` if the store does not hold the environment (any more)."""
        async with self._writing:
            return await self._configs.apply(self._environment, edit) is not None

    async def save_keys(self) -> bool:
        """Write the ring's keys; ``False`` if the store does not hold the environment."""
        async with self._writing:
            return await self._configs.apply(self._environment, SetKeys(self.ring.keys)) is not None
