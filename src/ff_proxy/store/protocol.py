"""What a store is: small protocols, one per consumer.

Rules for every adapter (spec/behaviour#upward-queues, spec/behaviour#lease):

- A write and its notice are one step; the revision is the truth, a notice only a hint.
- A revision changes with every write that readers can see, and with no other.
- Item versions never fall (see ``store.merge``).
- Everything is bounded; the caller's telemetry counts what was dropped.
- Methods raise ``StoreUnavailable`` when the store does not answer in time, never a foreign error.
"""

from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from enum import Enum
from typing import Final, Literal, Protocol

import msgspec

from ff_proxy.model.environment import (
    Domain,
    EnvironmentConfig,
    Item,
    RecentChange,
    Revision,
    UpstreamStatus,
)
from ff_proxy.model.keys import EnvironmentId, SdkKeyHash, Secret
from ff_proxy.model.member import FleetMember, SeenMember
from ff_proxy.model.target import Target
from ff_proxy.model.usage import UsageCount, UsageEntries, UsageTarget


class PutItem(msgspec.Struct, frozen=True):
    """A flag or segment is new or has changed."""

    item: Item


class DropItem(msgspec.Struct, frozen=True):
    """A flag or segment was deleted."""

    domain: Domain
    identifier: str


class SetKeys(msgspec.Struct, frozen=True):
    """These, and no others, are the environment's SDK keys."""

    keys: frozenset[SdkKeyHash]


Edit = PutItem | DropItem | SetKeys
"""One change to an environment that is already in the store."""


class Notice(msgspec.Struct, frozen=True):
    """A hint that an environment has a new ``revision``; ``None``: it was removed."""

    environment: EnvironmentId
    revision: Revision | None


class ConfigReader(Protocol):
    """The read side, for ``snapshots``."""

    async def environments(self) -> Mapping[EnvironmentId, Revision]:
        """The revision of every environment."""
        ...

    async def environment(self, environment: EnvironmentId) -> EnvironmentConfig | None:
        """One complete environment, or ``None``."""
        ...

    async def recent(self, environment: EnvironmentId, since: float) -> Sequence[RecentChange]:
        """Changes after ``since`` (wall-clock seconds), oldest first, only the newest per item.

        A process that starts late replays them to its streams (spec/behaviour#stream-pacing). A store that
        ends with the process may return nothing.
        """
        ...


class ConfigWriter(Protocol):
    """The write side, for ``upstream`` and ``offline``."""

    async def replace(self, config: EnvironmentConfig) -> Revision:
        """Make the environment equal ``config`` (its revision and retired versions are the store's to set).

        Returns the environment's revision, which is the old one if nothing changed.
        """
        ...

    async def apply(self, environment: EnvironmentId, edit: Edit) -> Revision | None:
        """Apply one edit; ``None`` if the store does not have the environment."""
        ...

    async def remove(self, environment: EnvironmentId) -> None:
        """Remove the environment; no error if it does not exist."""
        ...

    async def environment(self, environment: EnvironmentId) -> EnvironmentConfig | None:
        """The current environment, as in ``ConfigReader``: writers compare before they write."""
        ...


class ChangeSource(Protocol):
    """The store's feed of notices. Watch first, then read, so that nothing is missed."""

    def watch(self) -> AbstractAsyncContextManager[AsyncIterator[Notice]]:
        """Subscribe on entry; the iterator yields at least the newest notice of each changed environment."""
        ...


class StatusReader(Protocol):
    """The status of each environment's upstream, shared by all members."""

    async def statuses(self) -> Mapping[EnvironmentId, UpstreamStatus]:
        """The last status of every environment that has one."""
        ...


class StatusStore(StatusReader, Protocol):
    """Like ``StatusReader``, for the process that writes statuses."""

    async def set_status(self, environment: EnvironmentId, status: UpstreamStatus) -> None:
        """Set the environment's status."""
        ...


class Unknown(Enum):
    """The result of a lookup that would have to wait."""

    UNKNOWN = "unknown"


UNKNOWN: Final = Unknown.UNKNOWN


class Targets(Protocol):
    """Targets by environment and identifier: bounded, updated not replaced, shared where the store is."""

    def peek(self, environment: EnvironmentId, identifier: str) -> Target | Literal[Unknown.UNKNOWN] | None:
        """The result of ``get`` if it is known without waiting, else ``UNKNOWN``.

        An unchanged target is always the same object, so that identity serves as its revision.
        """
        ...

    async def get(self, environment: EnvironmentId, identifier: str) -> Target | None:
        """The stored target, or ``None``."""
        ...

    async def put(self, environment: EnvironmentId, target: Target, *, keep_attributes: bool = False) -> None:
        """Store ``target``; with ``keep_attributes`` attributes already stored for it stay.

        See spec/behaviour#upward-queues.

        It gets the current time, as the newest version.
        """
        ...

    async def every(self, environment: EnvironmentId) -> Sequence[Target]:
        """All stored targets, in no order; those that are stored meanwhile may be missing."""
        ...


class TargetStore(Targets, Protocol):
    """Like ``Targets``, with batch and late writes."""

    async def put(
        self,
        environment: EnvironmentId,
        target: Target,
        *,
        keep_attributes: bool = False,
        described_at: int | None = None,
    ) -> None:
        """As in ``Targets``; ``described_at``: unless a target newer than that (epoch ms) is stored."""
        ...

    async def put_many(self, environment: EnvironmentId, targets: Sequence[Target]) -> None:
        """Store many at once, as polled from the admin API; others stay."""
        ...


class UsageLease(UsageEntries, frozen=True):
    """A leased batch, to be settled once Harness has all or part of it."""

    id: str
    environment: EnvironmentId


class UsageIngest(Protocol):
    """Accepts usage."""

    async def merge(
        self, counts: Sequence[UsageCount], targets: Sequence[UsageTarget], *, name: str = ""
    ) -> int:
        """Merge entries of one environment with queued ones; returns how many were dropped for lack of room.

        A merge that raised may have been made. A shared store counts it once if it is asked for the same
        again, within ten minutes, under the same ``name``.
        """
        ...


class UsageQueue(UsageIngest, Protocol):
    """Usage on its way to Harness (spec/behaviour#usage): merged by key, bounded, at least once."""

    async def pending(self) -> Mapping[EnvironmentId, int]:
        """The number of queued entries by environment, leased ones included."""
        ...

    async def take(self, environment: EnvironmentId, limit: int) -> UsageLease | None:
        """Lease up to ``limit`` entries; ``None`` if the queue is empty.

        After a crash, unfinished leases return to the queue.
        """
        ...

    async def settle(
        self, lease: UsageLease, counts: Sequence[UsageCount] = (), targets: Sequence[UsageTarget] = ()
    ) -> None:
        """Harness has all but these entries: merge them back, and forget the others, in one step.

        There is always room for them. A finished lease is ignored.
        """
        ...


class Registration(msgspec.Struct, frozen=True):
    """A target to register with Harness."""

    environment: EnvironmentId
    target: Target


class RegistrationIngest(Protocol):
    """Accepts registrations."""

    async def add(self, registration: Registration) -> bool:
        """Queue it unless an equal one was already sent; ``False`` if there is no room."""
        ...


class Registrations(RegistrationIngest, Protocol):
    """Registrations on their way to Harness: bounded, one queued per environment and identifier."""

    async def waiting(self) -> Collection[EnvironmentId]:
        """The environments with queued registrations that this process may take."""
        ...

    async def take(self, environment: EnvironmentId, limit: int) -> Sequence[Registration]:
        """Take up to ``limit`` registrations, oldest first; ``complete`` or ``discard`` each."""
        ...

    async def complete(self, registration: Registration, *, delivered: bool) -> None:
        """If delivered, remember it as sent; otherwise queue it again at the end."""
        ...

    async def discard(self, registration: Registration) -> None:
        """Forget a taken registration that was not sent: an equal one may be queued again."""
        ...


class SecretStore(Protocol):
    """The secret that signs tokens when none is configured (spec/behaviour#token-secrets)."""

    async def auth_secret(self, candidate: Secret) -> Secret:
        """The fleet's secret: the stored one, or ``candidate``, which is stored if there is none."""
        ...


class FleetMembers(Protocol):
    """Who shares the store, and who of them leads which environment."""

    @property
    def own(self) -> str:
        """The name of this member."""
        ...

    async def put(self, member: FleetMember) -> bool:
        """List this member as it is now, for some seconds; ``False`` if the list is full."""
        ...

    async def take_out(self) -> None:
        """Take this member off the list."""
        ...

    async def present(self) -> Sequence[SeenMember]:
        """Every member that is listed, this one included."""
        ...

    async def leaders(self, environments: Iterable[EnvironmentId]) -> Mapping[EnvironmentId, str]:
        """The name of the member that leads each environment, if one does."""
        ...


class ConfigStore(ConfigReader, ConfigWriter, ChangeSource, StatusStore, Protocol):
    """Everything about environments in one place."""


class StoreFacets(Protocol):
    """A complete store: one facet per concern."""

    @property
    def configs(self) -> ConfigStore:
        """Environments, their feed and their upstream's status."""
        ...

    @property
    def targets(self) -> TargetStore:
        """Targets from SDKs and Harness."""
        ...

    @property
    def usage(self) -> UsageQueue:
        """Usage on its way to Harness."""
        ...

    @property
    def registrations(self) -> Registrations:
        """Registrations on their way to Harness."""
        ...

    @property
    def secrets(self) -> SecretStore:
        """The signing secret."""
        ...


class Store(StoreFacets, AbstractAsyncContextManager["Store"], Protocol):
    """A complete adapter, opened and closed as an async context manager."""
