"""What a store is: narrow protocols, each as wide as one consumer needs.

Rules that every adapter keeps (spec/behaviour#upward-queues, spec/behaviour#lease):

- Writing and giving notice are one step; the revision is the truth and a notice only a hint.
- A revision changes with every write that changes what readers see, and with no other.
- Item versions never fall (``store.merge`` decides what a write becomes).
- Everything is bounded; what had to be dropped is counted by the caller's telemetry.
- Methods raise ``StoreUnavailable`` when the store does not answer in time, never a foreign error.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
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
from ff_proxy.model.target import Target
from ff_proxy.model.usage import UsageCount, UsageTarget


class PutItem(msgspec.Struct, frozen=True):
    """A flag or segment is new or has changed."""

    item: Item


class DropItem(msgspec.Struct, frozen=True):
    """A flag or segment is gone."""

    domain: Domain
    identifier: str


class SetKeys(msgspec.Struct, frozen=True):
    """These, and no others, are the environment's SDK keys."""

    keys: frozenset[SdkKeyHash]


Edit = PutItem | DropItem | SetKeys
"""One change to an environment that is already in the store."""


class Notice(msgspec.Struct, frozen=True):
    """A hint that an environment moved to ``revision``; ``None`` says it is gone."""

    environment: EnvironmentId
    revision: Revision | None


class ConfigReader(Protocol):
    """What snapshots see."""

    async def environments(self) -> Mapping[EnvironmentId, Revision]:
        """The revision of every environment held."""
        ...

    async def environment(self, environment: EnvironmentId) -> EnvironmentConfig | None:
        """One environment whole, or ``None`` if it is not held."""
        ...

    async def recent(self, environment: EnvironmentId, since: float) -> Sequence[RecentChange]:
        """Changes taken in after ``since`` (wall-clock seconds), oldest first, newest per item.

        What a process that starts late replays to its streams (spec/behaviour#stream-pacing). A store whose
        life is the process's may answer with nothing: whoever was there has heard them.
        """
        ...


class ConfigWriter(Protocol):
    """What upstream and offline see."""

    async def replace(self, config: EnvironmentConfig) -> Revision:
        """Make the environment equal ``config`` (its revision and retired versions are the store's to set).

        Returns the environment's revision afterwards: the old one if nothing changed.
        """
        ...

    async def apply(self, environment: EnvironmentId, edit: Edit) -> Revision | None:
        """Apply one edit; ``None`` if the store does not hold the environment."""
        ...

    async def remove(self, environment: EnvironmentId) -> None:
        """Forget the environment; no error if it is not held."""
        ...

    async def environment(self, environment: EnvironmentId) -> EnvironmentConfig | None:
        """What is held now, as in ``ConfigReader``: writers compare before they write."""
        ...


class ChangeSource(Protocol):
    """The store's feed of notices. Watch first, then read: nothing falls in between."""

    def watch(self) -> AbstractAsyncContextManager[AsyncIterator[Notice]]:
        """Subscribe on entry; the iterator yields at least the newest notice of each moved environment."""
        ...


class StatusReader(Protocol):
    """How each environment's upstream is doing, as every member sees it."""

    async def statuses(self) -> Mapping[EnvironmentId, UpstreamStatus]:
        """The last status of every environment that has one."""
        ...


class StatusStore(StatusReader, Protocol):
    """The same, written where the upstream is."""

    async def set_status(self, environment: EnvironmentId, status: UpstreamStatus) -> None:
        """Note the environment's status."""
        ...


class Unknown(Enum):
    """The answer of a look-up that cannot be given without waiting."""

    UNKNOWN = "unknown"


UNKNOWN: Final = Unknown.UNKNOWN


class Targets(Protocol):
    """Targets by environment and identifier: bounded, updated not replaced, shared where the store is."""

    def peek(self, environment: EnvironmentId, identifier: str) -> Target | Literal[Unknown.UNKNOWN] | None:
        """What ``get`` would answer if that is known without waiting, else ``UNKNOWN``.

        A stored target that has not changed is answered with the same object each time, so that
        identity serves as its revision.
        """
        ...

    async def get(self, environment: EnvironmentId, identifier: str) -> Target | None:
        """The stored target, or ``None``."""
        ...

    async def put(self, environment: EnvironmentId, target: Target, *, keep_attributes: bool = False) -> None:
        """Store ``target``; with ``keep_attributes`` attributes already stored for it stay.

        See spec/behaviour#upward-queues.

        It is stored with the time of now, as the newest description.
        """
        ...


class TargetStore(Targets, Protocol):
    """The same, for whoever brings many, or brings one late."""

    async def put_late(
        self,
        environment: EnvironmentId,
        target: Target,
        described_at: int,
        *,
        keep_attributes: bool = False,
    ) -> None:
        """Store what was described at that time (epoch milliseconds), unless something newer is stored."""
        ...

    async def put_many(self, environment: EnvironmentId, targets: Sequence[Target]) -> None:
        """Store many at once, as polled from the admin service; others stay."""
        ...


class UsageLease(msgspec.Struct, frozen=True):
    """A batch taken out for sending: acknowledged once SaaS has it, released if not."""

    id: str
    environment: EnvironmentId
    counts: tuple[UsageCount, ...]
    targets: tuple[UsageTarget, ...]


class UsageIngest(Protocol):
    """Where usage is handed in."""

    async def merge(self, counts: Sequence[UsageCount], targets: Sequence[UsageTarget]) -> int:
        """Add counts up with what waits; returns how many entries had to be dropped for room."""
        ...


class UsageQueue(UsageIngest, Protocol):
    """Usage on its way to SaaS (spec/behaviour#usage): merged by key, bounded, at least once."""

    async def pending(self) -> Mapping[EnvironmentId, int]:
        """How many entries wait, by environment, leased ones included."""
        ...

    async def take(self, environment: EnvironmentId, limit: int) -> UsageLease | None:
        """Lease up to ``limit`` entries, or ``None`` if none wait.

        A lease that was never settled comes back after a crash.
        """
        ...

    async def acknowledge(self, lease: UsageLease) -> None:
        """The batch has arrived: forget it."""
        ...

    async def release(self, lease: UsageLease) -> None:
        """The batch has not arrived: merge it back."""
        ...


class Registration(msgspec.Struct, frozen=True):
    """A target that SaaS should know of."""

    environment: EnvironmentId
    target: Target


class RegistrationIngest(Protocol):
    """Where targets are handed in."""

    async def add(self, registration: Registration) -> bool:
        """Queue it unless an equal one was sent before; ``False`` if there was no room."""
        ...


class Registrations(RegistrationIngest, Protocol):
    """Targets on their way to SaaS: bounded, one waiting entry per environment and identifier."""

    async def take(self, limit: int) -> Sequence[Registration]:
        """Up to ``limit`` waiting ones, oldest first, waiting for the first; the caller settles each."""
        ...

    async def settle(self, registration: Registration, *, delivered: bool) -> None:
        """Delivered: forgotten and remembered as sent. Not delivered: queued again at the end."""
        ...


class SecretStore(Protocol):
    """The secret that signs tokens when none is configured (spec/behaviour#token-secrets)."""

    async def auth_secret(self, candidate: Secret) -> Secret:
        """The fleet's secret: the stored one, or ``candidate``, which is stored if there is none."""
        ...


class ConfigStore(ConfigReader, ConfigWriter, ChangeSource, StatusStore, Protocol):
    """Everything about environments in one place."""


class Store(AbstractAsyncContextManager["Store"], Protocol):
    """A whole adapter, opened and closed as an async context manager; one facet per concern."""

    @property
    def configs(self) -> ConfigStore:
        """Environments, their feed and their upstream's status."""
        ...

    @property
    def targets(self) -> TargetStore:
        """Targets as SDKs or SaaS described them."""
        ...

    @property
    def usage(self) -> UsageQueue:
        """Counts on their way up."""
        ...

    @property
    def registrations(self) -> Registrations:
        """Targets on their way up."""
        ...

    @property
    def secrets(self) -> SecretStore:
        """The signing secret."""
        ...
