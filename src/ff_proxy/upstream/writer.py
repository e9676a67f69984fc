"""Writing one environment: an older fetch never overwrites a newer one."""

import asyncio
from collections.abc import Collection, Mapping
from typing import Final

import msgspec

from ff_proxy.model.clock import Clock
from ff_proxy.model.environment import Action, Change, Domain, EnvironmentConfig, EnvironmentInfo, Item
from ff_proxy.model.keys import EnvironmentId, SdkKeyHash
from ff_proxy.store.protocol import ConfigWriter, DropItem, PutItem, SetKeys

CONFIRM_SECONDS: Final = 3.0
"""A second list is fetched this long after an item was first missing."""

# A list fetched this soon may still come from the same stale replica.
_MIN_APART_SECONDS: Final = CONFIRM_SECONDS / 2
# After this long, an announced version that cannot be fetched is no longer awaited.
_MEMORY_SECONDS: Final = 900.0

_Key = tuple[Domain, str]


class KeyRing:
    """An environment's valid keys, from Harness's listings (spec/behaviour#key-checks).

    Attributes:
        keys: the valid keys.
        unconfirmed: those that the last complete listing lacked; another such listing revokes them.
    """

    def __init__(self, keys: Collection[SdkKeyHash] = ()) -> None:
        self.keys = frozenset(keys)
        self.unconfirmed: frozenset[SdkKeyHash] = frozenset()

    def accept(self, key: SdkKeyHash) -> None:
        """Harness accepted the key."""
        self.keys |= {key}
        self.unconfirmed -= {key}

    def listed(self, listing: Collection[SdkKeyHash], accepted: Collection[SdkKeyHash] = ()) -> None:
        """Update from a complete, non-empty listing; ``accepted`` keys stay although it lacks them."""
        missing = self.keys.difference(listing, accepted)
        revoked = missing & self.unconfirmed
        self.keys = (self.keys | frozenset(listing)) - revoked
        self.unconfirmed = missing - revoked


class Ticket(msgspec.Struct, frozen=True):
    """When a fetch began: its number among the environment's fetches, and monotonic seconds."""

    number: int
    at: float


class ListOutcome(msgspec.Struct, frozen=True):
    """The result of a list: items that it lacks and that stay for now, and items older than announced."""

    unconfirmed: tuple[str, ...] = ()
    outdated: tuple[Change, ...] = ()


class EnvironmentWriter:
    """Makes all writes to one environment. Its methods raise ``StoreUnavailable``.

    Every fetch takes a ticket before its request. The result of a fetch is never replaced by that of an
    earlier one, whichever arrives first.

    Args:
        configs: the store.
        environment: its id.
        ring: its keys, written with every load.
        clock: measures how long items are missing.
        loaded: whether the store already has the environment.
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
        """Take a ticket for a fetch that begins now."""
        self._tickets += 1
        return Ticket(self._tickets, self._clock.monotonic())

    def announce(self, change: Change) -> None:
        """Harness announced this version of an item: an older one must be fetched again."""
        key = change.domain, change.identifier
        self._announced[key] = (change, self._clock.monotonic())
        if change.action is not Action.PATCH:
            self._seen.pop(key, None)

    async def stored(self) -> EnvironmentConfig | None:
        """What the store has now."""
        return await self._configs.environment(self._environment)

    async def put_list(
        self, info: EnvironmentInfo, domain: Domain, items: Mapping[str, Item], ticket: Ticket
    ) -> ListOutcome:
        """Replace all items of one kind; differences become changes in the store.

        A stored item that is missing stays until a second list, a few seconds later, lacks it too: one wrong
        response must not remove everything (spec/behaviour#vanished-items). A new environment is written once
        both lists are complete.
        """
        async with self._writing:
            if ticket.number < self._listed.get(domain, 0):
                return ListOutcome()
            config = await self.stored()
            if config is None:
                self._first[domain] = items
                if len(self._first) == len(Domain):
                    await self._load(info)
                return ListOutcome()
            merged, outcome = self._merge(_of(config, domain), domain, items, ticket)
            # Read the keys inside the lock, so that a key accepted meanwhile is not overwritten.
            changed = {"flags" if domain is Domain.FLAG else "segments": merged}
            await self._configs.replace(
                msgspec.structs.replace(config, info=info, keys=self.ring.keys, **changed)
            )
            self._keep_unconfirmed(domain, ticket, outcome)
            self.loaded = True
            return outcome

    async def put_item(self, edit: PutItem | DropItem, ticket: Ticket) -> bool:
        """Write one item; ``False`` if the store does not have the environment.

        An item with a lower version than one seen lately is from a lagging replica and is not written.
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
        """Write the ring's keys; ``False`` if the store does not have the environment."""
        async with self._writing:
            return await self._configs.apply(self._environment, SetKeys(self.ring.keys)) is not None

    async def _load(self, info: EnvironmentInfo) -> None:
        flags, segments = self._first[Domain.FLAG], self._first[Domain.SEGMENT]
        await self._configs.replace(EnvironmentConfig(info, flags, segments, self.ring.keys))
        self._first.clear()
        self._missing.clear()
        self.loaded = True

    def _merge(
        self, stored: Mapping[str, Item], domain: Domain, items: Mapping[str, Item], ticket: Ticket
    ) -> tuple[Mapping[str, Item], ListOutcome]:
        merged = dict(items)
        outdated = []
        for key in {**self._announced, **self._seen}:
            item = items.get(key[1]) if key[0] is domain else None
            if item is None:
                continue
            seen = self._last_seen(key)
            newest = max(seen, self._last_announced(key))
            if item.version < seen and key[1] in stored:
                merged[key[1]] = stored[key[1]]
            if item.version < newest:
                outdated.append(Change(Action.PATCH, domain, key[1], newest))
        for (kind, name), number in self._written.items():
            if kind is domain and number > ticket.number:
                _keep_stored(merged, stored, name)
        unconfirmed = []
        for name in stored.keys() - merged.keys():
            if self._written.get((domain, name), 0) > ticket.number:
                continue
            since = self._missing.setdefault((domain, name), ticket.at)
            if ticket.at - since < _MIN_APART_SECONDS:
                merged[name] = stored[name]
                unconfirmed.append(name)
        return merged, ListOutcome(tuple(sorted(unconfirmed)), tuple(outdated))

    def _keep_unconfirmed(self, domain: Domain, ticket: Ticket, outcome: ListOutcome) -> None:
        self._listed[domain] = ticket.number
        self._written = {
            key: number
            for key, number in self._written.items()
            if key[0] is not domain or number > ticket.number
        }
        self._announced = {
            key: announced_version
            for key, announced_version in self._announced.items()
            if not self._is_old(announced_version[1])
        }
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
        return self._clock.monotonic() - at > _MEMORY_SECONDS


def _of(config: EnvironmentConfig, domain: Domain) -> Mapping[str, Item]:
    return config.flags if domain is Domain.FLAG else config.segments


def _key(edit: PutItem | DropItem) -> _Key:
    if isinstance(edit, PutItem):
        return edit.item.domain, edit.item.identifier
    return edit.domain, edit.identifier


def _keep_stored(merged: dict[str, Item], stored: Mapping[str, Item], name: str) -> None:
    """Keep the store's version of an item, or its absence."""
    if name in stored:
        merged[name] = stored[name]
    else:
        merged.pop(name, None)
