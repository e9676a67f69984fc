"""A worker's end: the store of the sync process, as a store."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self

import msgspec

from ff_proxy.bounded import BoundedMap, entry_cost
from ff_proxy.errors import StoreRefused, StoreUnavailable
from ff_proxy.ipc import messages
from ff_proxy.ipc.client import IpcClient
from ff_proxy.ipc.shared_generations import SharedGenerations
from ff_proxy.model.clock import Clock, milliseconds
from ff_proxy.model.environment import EnvironmentConfig, Item, RecentChange, Revision, UpstreamStatus
from ff_proxy.model.keys import EnvironmentId, SdkKey, Secret
from ff_proxy.model.memory import LEAST_SHARES, MemoryShares
from ff_proxy.model.target import Target
from ff_proxy.model.usage import UsageCount, UsageTarget
from ff_proxy.model.verdict import KeyVerdict
from ff_proxy.store.protocol import UNKNOWN, Notice, Registration, Unknown
from ff_proxy.wire.stored import same_target

# Besides what is read: how a reader of the shared counters and its closure are kept.
_READ_BYTES: Final = 500
# A little more than the store itself takes to give up.
_MERGE_SECONDS: Final = 35.0
_Key = tuple[EnvironmentId, str]


class IpcStore:
    """What a worker needs of a store: it reads environments, and hands up what SDKs send.

    ``async with`` keeps it connected. While the sync process is away, calls wait a moment (see ``IpcClient``)
    and then raise ``StoreUnavailable``; watchers look again once it is back.
    """

    def __init__(
        self,
        path: Path,
        generations: SharedGenerations,
        clock: Clock,
        shares: MemoryShares = LEAST_SHARES,
    ) -> None:
        line = IpcClient(path, clock)
        self._line = line
        self.configs: Final = IpcConfigs(line)
        self.targets: Final = IpcTargets(line, generations, clock, shares)
        self.usage: Final = IpcUsage(line)
        self.registrations: Final = IpcRegistrations(line)
        self.secrets: Final = IpcSecrets(line)

    async def check(self, key: SdkKey) -> KeyVerdict:
        """What the sync process finds out about ``key``; never raises."""
        try:
            verdict: KeyVerdict = await self._line.ask(messages.CheckKey(key.reveal()), KeyVerdict)
        except StoreUnavailable:
            return KeyVerdict.UNAVAILABLE
        return verdict

    async def state(self) -> messages.State:
        """How the sync process is doing."""
        state: messages.State = await self._line.ask(messages.AskState(), messages.State)
        return state

    async def __aenter__(self) -> Self:
        await self._line.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._line.__aexit__(kind, error, trace)


class IpcConfigs:
    """Environments as the other process holds them; what was read is kept, and only differences travel."""

    def __init__(self, line: IpcClient) -> None:
        self._line = line
        self._held: dict[EnvironmentId, EnvironmentConfig] = {}

    async def environments(self) -> Mapping[EnvironmentId, Revision]:
        """See ``ConfigReader``."""
        found: Mapping[EnvironmentId, Revision] = await self._line.ask(
            messages.Environments(), dict[EnvironmentId, Revision]
        )
        return found

    async def environment(self, environment: EnvironmentId) -> EnvironmentConfig | None:
        """See ``ConfigReader``."""
        held = self._held.get(environment)
        known = None if held is None else held.revision
        part: messages.Part | None = await self._line.ask(
            messages.Environment(environment, known), messages.Part | None
        )
        if part is None:
            self._held.pop(environment, None)
            return None
        config = _joined(held, part)
        self._held[environment] = config
        return config

    async def recent(self, environment: EnvironmentId, since: float) -> Sequence[RecentChange]:
        """See ``ConfigReader``."""
        found: Sequence[RecentChange] = await self._line.ask(
            messages.Recent(environment, since), list[RecentChange]
        )
        return found

    async def statuses(self) -> Mapping[EnvironmentId, UpstreamStatus]:
        """See ``StatusStore``."""
        found: Mapping[EnvironmentId, UpstreamStatus] = await self._line.ask(
            messages.Statuses(), dict[EnvironmentId, UpstreamStatus]
        )
        return found

    def watch(self) -> AbstractAsyncContextManager[AsyncIterator[Notice]]:
        """See ``ChangeSource``; the iterator raises ``StoreUnavailable`` when the connection is lost."""
        return self._line.watch()


class _Read(msgspec.Struct, frozen=True):
    """A target that was read when its counter stood at ``count``; ``counted`` says where it stands now."""

    counted: Callable[[], int]
    count: int
    found: Target | None


class IpcTargets:
    """Targets that the other process keeps; the tide tells whether one that was read is still the truth.

    What could not be handed over is owed, and counts here until ``pay`` has done so.
    """

    def __init__(
        self, line: IpcClient, generations: SharedGenerations, clock: Clock, shares: MemoryShares
    ) -> None:
        self._line = line
        self._generations = generations
        self._clock = clock
        self._cache: BoundedMap[_Key, _Read] = BoundedMap(
            shares.targets, lambda key, read: _READ_BYTES + entry_cost(key, read.found)
        )
        self._owed: BoundedMap[_Key, messages.PutTarget] = BoundedMap(shares.pending_writes)

    def peek(self, environment: EnvironmentId, identifier: str) -> Target | Literal[Unknown.UNKNOWN] | None:
        """See ``TargetStore``."""
        key = (environment, identifier)
        owed = self._owed.recall(key)
        if owed is not None:
            return owed.target
        read = self._cache.get(key)
        return UNKNOWN if read is None or read.counted() != read.count else read.found

    async def get(self, environment: EnvironmentId, identifier: str) -> Target | None:
        """See ``TargetStore``; what was read before is the answer while the other process is away."""
        key = (environment, identifier)
        counted = self._generations.target_reader(environment, identifier)
        before = counted()
        try:
            found: Target | None = await self._line.ask(
                messages.GetTarget(environment, identifier), Target | None
            )
        except StoreUnavailable:
            owed, cached = self._owed.recall(key), self._cache.get(key)
            if owed is not None:
                return owed.target
            if cached is not None:
                return cached.found
            raise
        earlier = self._cache.get(key)
        if earlier is not None and earlier.found and found and same_target(earlier.found, found):
            found = earlier.found  # the same object for as long as it is unchanged
        self._cache.put(key, _Read(counted, before, found))
        return found

    async def put(self, environment: EnvironmentId, target: Target, *, keep_attributes: bool = False) -> None:
        """See ``TargetStore``."""
        key = (environment, target.identifier)
        now = milliseconds(self._clock)
        request = messages.PutTarget(environment, target, keep_attributes)
        try:
            await self._line.ask(request, None)
        except StoreUnavailable:
            # What is handed over later must not take the place of what another worker was told meanwhile.
            self._owe(key, msgspec.structs.replace(request, described_at=now))
            raise
        self._owed.pop(key)

    async def pay(self) -> None:
        """Hand over what could not be handed over when it came; raises ``StoreUnavailable``."""
        for key, request in list(self._owed.items()):
            with suppress(StoreRefused):  # it never will be: the others go on
                await self._line.ask(request, None)
            if self._owed.get(key) is request:
                self._owed.pop(key)

    def _owe(self, key: _Key, request: messages.PutTarget) -> None:
        known = self._cache.get(key)
        if request.keep_attributes and known is not None and known.found is not None:
            merged = msgspec.structs.replace(request.target, attributes=known.found.attributes)
            request = msgspec.structs.replace(request, target=merged)
        self._owed.put(key, request)


class IpcUsage:
    """The way up for counts."""

    def __init__(self, line: IpcClient) -> None:
        self._line = line

    async def merge(self, counts: Sequence[UsageCount], targets: Sequence[UsageTarget]) -> int:
        """See ``UsageQueue``."""
        request = messages.MergeUsage(counts, targets)
        # What was not answered may have been done all the same, and nobody waits for it.
        dropped: int = await self._line.ask(request, int, again=False, seconds=_MERGE_SECONDS)
        return dropped


class IpcRegistrations:
    """The way up for targets."""

    def __init__(self, line: IpcClient) -> None:
        self._line = line

    async def add(self, registration: Registration) -> bool:
        """See ``Registrations``."""
        added: bool = await self._line.ask(messages.AddRegistration(registration), bool)
        return added


class IpcSecrets:
    """The signing secret as the other process has it."""

    def __init__(self, line: IpcClient) -> None:
        self._line = line

    async def auth_secret(self, candidate: Secret) -> Secret:
        """See ``SecretStore``; there is always one already."""
        del candidate
        return Secret(await self._line.ask(messages.AskSecret(), str))


def _joined(held: EnvironmentConfig | None, part: messages.Part) -> EnvironmentConfig:
    flags: dict[str, Item] = {} if part.whole or held is None else dict(held.flags)
    segments: dict[str, Item] = {} if part.whole or held is None else dict(held.segments)
    for name in part.gone_flags:
        del flags[name]
    for name in part.gone_segments:
        del segments[name]
    for item in part.changed:
        (flags if item.domain.value == "flag" else segments)[item.identifier] = item
    return EnvironmentConfig(part.info, flags, segments, part.keys, part.revision, part.retired, part.since)
