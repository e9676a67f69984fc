"""Writing one environment: what was fetched first never overwrites what was fetched later."""

import asyncio
from collections.abc import Collection, Mapping
from typing import Final

import msgspec

from ff_proxy.model.clock import Clock
from ff_proxy.model.environment import Action, Change, Domain, EnvironmentConfig, EnvironmentInfo, Item
from ff_proxy.model.keys import EnvironmentId, SdkKeyHash
from ff_proxy.store.protocol import ConfigWriter, DropItem, PutItem, SetKeys

CONFIRM_SECONDS: Final = 3.0
"""How long after an item was first missing from a list a second list is asked for."""

# A list begun so soon after the first may still come from the same stray copy.
_APART: Final = CONFIRM_SECONDS / 2
# A version that was announced or seen, but cannot be read (any more) after so long, is not waited for.
_REMEMBERED_SECONDS: Final = 900.0

_Key = tuple[Domain, str]


class KeyRing:
    """The keys an environment has, by what SaaS lists (spec/behaviour#key-checks)."""

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


class Ticket(msgspec.Struct, frozen=True):
    """When a fetch began: its place among all fetches of the environment, and the monotonic second."""

    number: int
    at: float


class ListOutcome(msgspec.Struct, frozen=True):
    """What became of a list: items that it lacks and that stay for now, and those older than announced."""

    unconfirmed: tuple[str, ...] = ()
    behind: tuple[Change, ...] = ()


class EnvironmentWriter:
    """All that is written to one environment. Its methods raise ``StoreUnavailable``.

    Every fetch takes a ticket before it asks. A fetch that began later knows more, so its result is never
    replaced by one that began earlier, whichever arrives first.

    Args:
        configs: the store.
        environment: which one.
        ring: its keys; every load carries them.
        clock: measures how long items are missing.
        loaded: whether the store holds the environment already; ``loaded`` stays ``True`` afterwards.
    """

    def __init__(
        self,
        configs: ConfigWriter,
        environment: EnvironmentId,
        ring: KeyRing,
        clock: Clock,
        *,
        loaded: bool,
    ) -> None:
        self._configs = configs
        self._environment = environment
        self._clock = clock
        self._writing = asyncio.Lock()
        self._tickets = 0
        self._listed: dict[Domain, int] = {}
        self._written: dict[_Key, int] = {}
        self._missing: dict[_Key, float] = {}
        self._announced: dict[_Key, tuple[Change, float]] = {}
        self._seen: dict[_Key, tuple[int, float]] = {}
        self._first: dict[Domain, Mapping[str, Item]] = {}
        self.ring = ring
        self.loaded = loaded

    def ticket(self) -> Ticket:
        """A fetch begins now."""
        self._tickets += 1
        return Ticket(self._tickets, self._clock.monotonic())

    def announce(self, change: Change) -> None:
        """Harness says that an item has this version now: an older one is to be asked for again."""
        key = change.domain, change.identifier
        self._announced[key] = (change, self._clock.monotonic())
        if change.action is not Action.PATCH:
            self._seen.pop(key, None)

    async def held(self) -> EnvironmentConfig | None:
        """What the store holds now."""
        return await self._configs.environment(self._environment)

    async def put_list(
        self, info: EnvironmentInfo, domain: Domain, items: Mapping[str, Item], ticket: Ticket
    ) -> ListOutcome:
        """All items of one kind are these; what differs from the store becomes events there.

        An item that is held but missing stays until a second list, a few seconds later, lacks it too: one
        stray answer must not switch everything off (spec/behaviour#vanished-items). An environment that the
        store does not hold is written once lists of both kinds are there.
        """
        async with self._writing:
            if ticket.number < self._listed.get(domain, 0):
                return ListOutcome()
            config = await self.held()
            if config is None:
                self._first[domain] = items
                if len(self._first) == len(Domain):
                    await self._load(info)
                return ListOutcome()
            merged, outcome = self._merged(_of(config, domain), domain, items, ticket)
            # The keys are read inside the lock: a key accepted meanwhile must not be written over.
            changed = {"flags" if domain is Domain.FLAG else "segments": merged}
            await self._configs.replace(
                msgspec.structs.replace(config, info=info, keys=self.ring.keys, **changed)
            )
            self._settled(domain, ticket, outcome)
            self.loaded = True
            return outcome

    async def put_item(self, edit: PutItem | DropItem, ticket: Ticket) -> bool:
        """Write one item; ``False`` if the store does not hold the environment (any more).

        An item of a lower version than one seen lately is of a lagging copy, and is not written.
        """
        key = _key(edit)
        async with self._writing:
            if ticket.number < max(self._written.get(key, 0), self._listed.get(key[0], 0)):
                return True
            if isinstance(edit, PutItem) and edit.item.version < self._last_seen(key):
                return True
            if await self._configs.apply(self._environment, edit) is None:
                return False
            self._written[key] = ticket.number
            self._missing.pop(key, None)
            if isinstance(edit, PutItem):
                self._seen[key] = (edit.item.version, ticket.at)
            else:
                self._announced.pop(key, None)
                self._seen.pop(key, None)
            return True

    async def save_keys(self) -> bool:
        """Write the ring's keys; ``False`` if the store does not hold the environment."""
        async with self._writing:
            return await self._configs.apply(self._environment, SetKeys(self.ring.keys)) is not None

    async def _load(self, info: EnvironmentInfo) -> None:
        flags, segments = self._first[Domain.FLAG], self._first[Domain.SEGMENT]
        await self._configs.replace(EnvironmentConfig(info, flags, segments, self.ring.keys))
        self._first.clear()
        self._missing.clear()
        self.loaded = True

    def _merged(
        self, held: Mapping[str, Item], domain: Domain, items: Mapping[str, Item], ticket: Ticket
    ) -> tuple[Mapping[str, Item], ListOutcome]:
        merged = dict(items)
        behind = []
        for key in {**self._announced, **self._seen}:
            item = items.get(key[1]) if key[0] is domain else None
            if item is None:
                continue
            seen = self._last_seen(key)
            newest = max(seen, self._last_announced(key))
            if item.version < seen and key[1] in held:
                merged[key[1]] = held[key[1]]
            if item.version < newest:
                behind.append(Change(Action.PATCH, domain, key[1], newest))
        for (kind, name), number in self._written.items():
            if kind is domain and number > ticket.number:
                _keep(merged, held, name)
        unconfirmed = []
        for name in held.keys() - merged.keys():
            if self._written.get((domain, name), 0) > ticket.number:
                continue
            since = self._missing.setdefault((domain, name), ticket.at)
            if ticket.at - since < _APART:
                merged[name] = held[name]
                unconfirmed.append(name)
        return merged, ListOutcome(tuple(sorted(unconfirmed)), tuple(behind))

    def _settled(self, domain: Domain, ticket: Ticket, outcome: ListOutcome) -> None:
        self._listed[domain] = ticket.number
        self._written = {
            key: number
            for key, number in self._written.items()
            if key[0] is not domain or number > ticket.number
        }
        self._announced = {key: said for key, said in self._announced.items() if not self._is_old(said[1])}
        self._seen = {key: seen for key, seen in self._seen.items() if not self._is_old(seen[1])}
        unconfirmed = set(outcome.unconfirmed)
        self._missing = {
            key: since
            for key, since in self._missing.items()
            if key[0] is not domain or key[1] in unconfirmed
        }

    def _last_announced(self, key: _Key) -> int:
        announced = self._announced.get(key)
        return 0 if announced is None or self._is_old(announced[1]) else announced[0].version

    def _last_seen(self, key: _Key) -> int:
        seen = self._seen.get(key)
        return 0 if seen is None or self._is_old(seen[1]) else seen[0]

    def _is_old(self, at: float) -> bool:
        return self._clock.monotonic() - at > _REMEMBERED_SECONDS


def _of(config: EnvironmentConfig, domain: Domain) -> Mapping[str, Item]:
    return config.flags if domain is Domain.FLAG else config.segments


def _key(edit: PutItem | DropItem) -> _Key:
    if isinstance(edit, PutItem):
        return edit.item.domain, edit.item.identifier
    return edit.domain, edit.identifier


def _keep(merged: dict[str, Item], held: Mapping[str, Item], name: str) -> None:
    """Let the store's form of an item stay, or its absence."""
    if name in held:
        merged[name] = held[name]
    else:
        merged.pop(name, None)
