"""The worker's side: the sync process's store."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from pathlib import Path
from typing import Final, Literal, Self

import msgspec

from ff_proxy.bounded import BoundedMap, entry_cost
from ff_proxy.errors import StoreRefused, StoreUnavailable
from ff_proxy.ipc import messages
from ff_proxy.ipc.client import IpcClient
from ff_proxy.ipc.shared_generations import SharedGenerations
from ff_proxy.model.clock import Clock, milliseconds
from ff_proxy.model.environment import Domain, EnvironmentConfig, Item, RecentChange, Revision, UpstreamStatus
from ff_proxy.model.keys import EnvironmentId, KeyVerdict, SdkKey, Secret
from ff_proxy.model.memory import LEAST_SHARES, MemoryShares
from ff_proxy.model.target import Target
from ff_proxy.model.usage import UsageCount, UsageTarget
from ff_proxy.store.protocol import UNKNOWN, Notice, Registration, Unknown
from ff_proxy.wire.stored import same_target

# Overhead per cached target: a counter reader and its closure.
_READ_BYTES: Final = 500
# A little longer than the store's own timeout.
_MERGE_SECONDS: Final = 35.0
_Key = tuple[EnvironmentId, str]


class IpcStore:
    """The store for a worker: it reads environments, and passes on what SDKs send.

    ``async with`` keeps it connected. While the sync process is down, calls wait a moment (see ``IpcClient``)
    and then raise ``StoreUnavailable``. ``dropped`` gives the counters of dropped entries.

    Attributes:
        last_state: of the sync process, as last read.
    """

    def __init__(
        self,
        path: Path,
        generations: SharedGenerations,
        clock: Clock,
        shares: MemoryShares = LEAST_SHARES,
        dropped: Callable[[str], Callable[[int], object]] = lambda _: lambda _: None,
    ) -> None:
        client = IpcClient(path, clock)
        self._client = client
        self.last_state: messages.State | None = None
        self.configs: Final = IpcConfigs(client)
        self.targets: Final = IpcTargets(client, generations, clock, shares, dropped)
        self.usage: Final = IpcUsage(client)
        self.registrations: Final = IpcRegistrations(client)
        self.secrets: Final = IpcSecrets(client)

    async def check(self, key: SdkKey) -> KeyVerdict:
        """Have the sync process check ``key``; never raises."""
        try:
            verdict: KeyVerdict = await self._client.call(messages.CheckKey(key.reveal()), KeyVerdict)
        except StoreUnavailable:
            return KeyVerdict.UNAVAILABLE
        return verdict

    async def state(self) -> messages.State:
        """The state of the sync process."""
        state: messages.State = await self._client.call(messages.GetState(), messages.State)
        self.last_state = state
        return state

    @property
    def standalone(self) -> frozenset[EnvironmentId]:
        """The environments that only the sync process had when its state was last read."""
        return frozenset() if self.last_state is None else self.last_state.standalone

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.__aexit__()


class IpcConfigs:
    """The sync process's environments; caches what was read, so only differences are sent."""

    def __init__(self, client: IpcClient) -> None:
        self._client = client
        self._held: dict[EnvironmentId, EnvironmentConfig] = {}

    async def environments(self) -> Mapping[EnvironmentId, Revision]:
        """See ``ConfigReader``."""
        found: Mapping[EnvironmentId, Revision] = await self._client.call(
            messages.Environments(), dict[EnvironmentId, Revision]
        )
        return found

    async def environment(self, environment: EnvironmentId) -> EnvironmentConfig | None:
        """See ``ConfigReader``."""
        held = self._held.get(environment)
        known = None if held is None else held.revision
        part: messages.EnvironmentDelta | None = await self._client.call(
            messages.Environment(environment, known), messages.EnvironmentDelta | None
        )
        if part is None:
            self._held.pop(environment, None)
            return None
        config = _apply_delta(held, part)
        self._held[environment] = config
        return config

    async def recent(self, environment: EnvironmentId, since: float) -> Sequence[RecentChange]:
        """See ``ConfigReader``."""
        found: Sequence[RecentChange] = await self._client.call(
            messages.Recent(environment, since), list[RecentChange]
        )
        return found

    async def statuses(self) -> Mapping[EnvironmentId, UpstreamStatus]:
        """See ``StatusStore``."""
        found: Mapping[EnvironmentId, UpstreamStatus] = await self._client.call(
            messages.Statuses(), dict[EnvironmentId, UpstreamStatus]
        )
        return found

    def watch(self) -> AbstractAsyncContextManager[AsyncIterator[Notice]]:
        """See ``ChangeSource``; the iterator raises ``StoreUnavailable`` when the connection is lost."""
        return self._client.watch()


class _Read(msgspec.Struct, frozen=True):
    """A target read when its counter was ``count``; ``counted`` reads the counter."""

    counted: Callable[[], int]
    count: int
    found: Target | None


class IpcTargets:
    """The sync process's targets; the shared generations tell whether a cached one is current.

    Writes that failed are pending and visible here until ``flush_pending`` sends them.
    """

    def __init__(
        self,
        client: IpcClient,
        generations: SharedGenerations,
        clock: Clock,
        shares: MemoryShares,
        dropped: Callable[[str], Callable[[int], object]],
    ) -> None:
        self._client = client
        self._generations = generations
        self._clock = clock
        self._cache: BoundedMap[_Key, _Read] = BoundedMap(
            shares.targets,
            lambda key, read: _READ_BYTES + entry_cost(key, read.found),
            dropped("targets"),
        )
        self._pending: BoundedMap[_Key, messages.PutTarget] = BoundedMap(
            shares.pending_writes, dropped=dropped("pending_writes")
        )

    def peek(self, environment: EnvironmentId, identifier: str) -> Target | Literal[Unknown.UNKNOWN] | None:
        """See ``TargetStore``."""
        key = (environment, identifier)
        pending = self._pending.peek(key)
        if pending is not None:
            return pending.target
        read = self._cache.get(key)
        return UNKNOWN if read is None or read.counted() != read.count else read.found

    async def every(self, environment: EnvironmentId) -> Sequence[Target]:
        """See ``TargetStore``."""
        found: list[Target] = await self._client.call(messages.EveryTarget(environment), list[Target])
        return found

    async def get(self, environment: EnvironmentId, identifier: str) -> Target | None:
        """See ``TargetStore``; returns the cached target while the sync process is down."""
        key = (environment, identifier)
        counted = self._generations.target_reader(environment, identifier)
        before = counted()
        try:
            found: Target | None = await self._client.call(
                messages.GetTarget(environment, identifier), Target | None
            )
        except StoreUnavailable:
            pending, cached = self._pending.peek(key), self._cache.get(key)
            if pending is not None:
                return pending.target
            if cached is not None:
                return cached.found
            raise
        earlier = self._cache.get(key)
        if earlier is not None and earlier.found and found and same_target(earlier.found, found):
            found = earlier.found  # the same object while it is unchanged
        self._cache.put(key, _Read(counted, before, found))
        return found

    async def put(self, environment: EnvironmentId, target: Target, *, keep_attributes: bool = False) -> None:
        """See ``TargetStore``."""
        key = (environment, target.identifier)
        now = milliseconds(self._clock)
        request = messages.PutTarget(environment, target, keep_attributes)
        pending = self._pending.get(key)
        if pending is not None and keep_attributes:
            # The sync process does not have the attributes that are to stay yet.
            kept = msgspec.structs.replace(target, attributes=pending.target.attributes)
            request = messages.PutTarget(environment, kept, pending.keep_attributes)
        try:
            await self._client.call(request, None)
        except StoreUnavailable:
            # A late write must not replace a newer one from another worker.
            self._add_pending(key, msgspec.structs.replace(request, described_at=now))
            raise
        if self._pending.get(key) is pending:
            self._pending.pop(key)

    async def flush_pending(self) -> None:
        """Send pending writes; raises ``StoreUnavailable``."""
        for key, request in list(self._pending.items()):
            with suppress(StoreRefused):  # it will never succeed: continue with the others
                await self._client.call(request, None)
            if self._pending.get(key) is request:
                self._pending.pop(key)

    def _add_pending(self, key: _Key, request: messages.PutTarget) -> None:
        known = self._cache.get(key)
        if request.keep_attributes and known is not None and known.found is not None:
            merged = msgspec.structs.replace(request.target, attributes=known.found.attributes)
            request = msgspec.structs.replace(request, target=merged)
        self._pending.put(key, request)


class IpcUsage:
    """Passes usage to the sync process."""

    def __init__(self, client: IpcClient) -> None:
        self._client = client

    async def merge(
        self, counts: Sequence[UsageCount], targets: Sequence[UsageTarget], *, name: str = ""
    ) -> int:
        """See ``UsageQueue``."""
        request = messages.MergeUsage(counts, targets, name)
        # A lost response may mean success, and no client waits for it.
        dropped: int = await self._client.call(request, int, retry=False, seconds=_MERGE_SECONDS)
        return dropped


class IpcRegistrations:
    """Passes registrations to the sync process."""

    def __init__(self, client: IpcClient) -> None:
        self._client = client

    async def add(self, registration: Registration) -> bool:
        """See ``Registrations``."""
        added: bool = await self._client.call(messages.AddRegistration(registration), bool)
        return added


class IpcSecrets:
    """The sync process's signing secret."""

    def __init__(self, client: IpcClient) -> None:
        self._client = client

    async def auth_secret(self, candidate: Secret) -> Secret:
        """See ``SecretStore``; the sync process always has one."""
        del candidate
        return Secret(await self._client.call(messages.GetSecret(), str))


def _apply_delta(held: EnvironmentConfig | None, part: messages.EnvironmentDelta) -> EnvironmentConfig:
    items: dict[Domain, dict[str, Item]] = {
        domain: {} if part.whole or held is None else dict(held.items(domain)) for domain in Domain
    }
    for domain, name in part.gone:
        del items[domain][name]
    for item in part.changed:
        items[item.domain][item.identifier] = item
    flags, segments = items[Domain.FLAG], items[Domain.SEGMENT]
    return EnvironmentConfig(part.info, flags, segments, part.keys, part.revision, part.retired, part.since)
