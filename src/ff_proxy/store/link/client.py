"""A worker's end: the store of the sync process, as a store."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self

from ff_proxy.errors import StoreUnavailable
from ff_proxy.model.environment import EnvironmentConfig, Item, RecentChange, Revision, UpstreamStatus
from ff_proxy.model.keys import EnvironmentId, SdkKey
from ff_proxy.model.target import Target
from ff_proxy.model.usage import UsageCount, UsageTarget
from ff_proxy.store.feed import Feed
from ff_proxy.store.link import messages
from ff_proxy.store.link.tide import Tide
from ff_proxy.store.protocol import UNKNOWN, Notice, Registration, Unknown

_ANSWER_SECONDS: Final = 10.0
_CACHED: Final = 20_000


class LinkStore:
    """What a worker needs of a store: it reads environments, and hands up what SDKs send.

    The connection is made when first needed and made again when lost; while there is none, calls raise
    ``StoreUnavailable``, and watchers are told to look again once there is one.
    """

    def __init__(self, path: Path, tide: Tide) -> None:
        line = _Line(path)
        self._line = line
        self.tide: Final = tide
        self.configs: Final = LinkConfigs(line)
        self.targets: Final = LinkTargets(line, tide)
        self.usage: Final = LinkUsage(line)
        self.registrations: Final = LinkRegistrations(line)

    async def check_key(self, key: SdkKey) -> str:
        """The name of the verdict that the sync process has on ``key``."""
        verdict: str = await self._line.ask(messages.CheckKey(key.reveal()), str)
        return verdict

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._line.close()


class _Line:
    """One connection, shared by every call."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._numbers = count(1)
        self._waiting: dict[int, asyncio.Future[messages.Answered]] = {}
        self._writer: asyncio.StreamWriter | None = None
        self._listening: asyncio.Task[None] | None = None
        self._opening = asyncio.Lock()
        self._watched = False
        self.feed = Feed()
        self.lives = 0

    async def ask(self, request: messages.Request, kind: Any) -> Any:
        """The answer to one request, as ``kind``."""
        writer = await self._open()
        number = next(self._numbers)
        answer: asyncio.Future[messages.Answered] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            messages.write_frame(writer, messages.Asked(number, request))
            async with asyncio.timeout(_ANSWER_SECONDS):
                await writer.drain()
                answered = await answer
        except TimeoutError as error:
            raise StoreUnavailable("the process that holds the store does not answer") from error
        except OSError as error:
            raise StoreUnavailable("the process that holds the store is gone") from error
        finally:
            self._waiting.pop(number, None)
        if answered.failure is not None:
            raise StoreUnavailable(answered.failure.problem)
        return messages.decode(answered.result, kind)

    async def watch(self) -> None:
        """See that notices reach ``feed`` on this connection."""
        if not self._watched:
            await self.ask(messages.Watch(), None)
            self._watched = True

    async def wait_for_end(self) -> None:
        """Return when the connection that is open now is lost."""
        listening = self._listening
        if listening is not None:
            await asyncio.wait([listening])

    async def close(self) -> None:
        """End the connection."""
        listening, self._listening = self._listening, None
        if listening is not None:
            listening.cancel()
            with suppress(asyncio.CancelledError):
                await listening

    async def _open(self) -> asyncio.StreamWriter:
        async with self._opening:
            if self._writer is None:
                try:
                    reader, self._writer = await asyncio.open_unix_connection(self._path)
                except OSError as error:
                    raise StoreUnavailable("the process that holds the store is not there") from error
                self.lives += 1
                self._watched = False
                self._listening = asyncio.create_task(self._listen(reader, self._writer))
            return self._writer

    async def _listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                answered = messages.decode_answered(await messages.read_frame(reader))
                if answered.number == messages.NOTICES:
                    self.feed.publish(messages.decode(answered.result, Notice))
                elif (answer := self._waiting.get(answered.number)) is not None and not answer.done():
                    answer.set_result(answered)
        except StoreUnavailable as error:
            for answer in self._waiting.values():
                if not answer.done():
                    answer.set_exception(error)
        finally:
            self._writer = None
            writer.close()


class LinkConfigs:
    """Environments as the other process holds them; what was read is kept, and only differences travel."""

    def __init__(self, line: _Line) -> None:
        self._line = line
        self._held: dict[EnvironmentId, EnvironmentConfig] = {}
        self._life = 0

    async def environments(self) -> Mapping[EnvironmentId, Revision]:
        """See ``ConfigReader``."""
        found: Mapping[EnvironmentId, Revision] = await self._line.ask(
            messages.Environments(), dict[EnvironmentId, Revision]
        )
        return found

    async def environment(self, environment: EnvironmentId) -> EnvironmentConfig | None:
        """See ``ConfigReader``."""
        if self._life != self._line.lives:
            # Another connection: the other end does not know what was given over the last one.
            self._held.clear()
        held = self._held.get(environment)
        known = None if held is None else held.revision
        part: messages.Part | None = await self._line.ask(
            messages.Environment(environment, known), messages.Part | None
        )
        self._life = self._line.lives
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

    @asynccontextmanager
    async def _watching(self) -> AsyncIterator[AsyncIterator[Notice]]:
        async with self._line.feed.watch() as notices:
            await self._line.watch()
            yield _until_lost(notices, self._line)

    def watch(self) -> AbstractAsyncContextManager[AsyncIterator[Notice]]:
        """See ``ChangeSource``; the iterator raises ``StoreUnavailable`` when the connection is lost."""
        return self._watching()


class LinkTargets:
    """Targets that the other process keeps; the tide tells whether one that was read is still the truth."""

    def __init__(self, line: _Line, tide: Tide) -> None:
        self._line = line
        self._tide = tide
        self._cache: OrderedDict[tuple[EnvironmentId, str], tuple[int, Target | None]] = OrderedDict()

    def peek(self, environment: EnvironmentId, identifier: str) -> Target | Literal[Unknown.UNKNOWN] | None:
        """See ``TargetStore``."""
        cached = self._cache.get((environment, identifier))
        if cached is None or cached[0] != self._tide.targets(environment, identifier):
            return UNKNOWN
        return cached[1]

    async def get(self, environment: EnvironmentId, identifier: str) -> Target | None:
        """See ``TargetStore``."""
        before = self._tide.targets(environment, identifier)
        found: Target | None = await self._line.ask(
            messages.GetTarget(environment, identifier), Target | None
        )
        key = (environment, identifier)
        cached = self._cache.get(key)
        if cached is not None and cached[1] == found:
            found = cached[1]  # the same object for as long as it is unchanged
        self._cache[key] = (before, found)
        self._cache.move_to_end(key)
        while len(self._cache) > _CACHED:
            self._cache.popitem(last=False)
        return found

    async def put(self, environment: EnvironmentId, target: Target, *, keep_attributes: bool = False) -> None:
        """See ``TargetStore``."""
        await self._line.ask(messages.PutTarget(environment, target, keep_attributes), None)


class LinkUsage:
    """The way up for counts."""

    def __init__(self, line: _Line) -> None:
        self._line = line

    async def merge(self, counts: Sequence[UsageCount], targets: Sequence[UsageTarget]) -> int:
        """See ``UsageQueue``."""
        dropped: int = await self._line.ask(messages.MergeUsage(counts, targets), int)
        return dropped


class LinkRegistrations:
    """The way up for targets."""

    def __init__(self, line: _Line) -> None:
        self._line = line

    async def add(self, registration: Registration) -> bool:
        """See ``Registrations``."""
        added: bool = await self._line.ask(messages.AddRegistration(registration), bool)
        return added


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


async def _until_lost(notices: AsyncIterator[Notice], line: _Line) -> AsyncIterator[Notice]:
    ended = asyncio.ensure_future(line.wait_for_end())
    try:
        while True:
            following = asyncio.ensure_future(_following(notices))
            try:
                await asyncio.wait([ended, following], return_when=asyncio.FIRST_COMPLETED)
                if not following.done():
                    raise StoreUnavailable("the process that holds the store is gone")
                yield following.result()
            finally:
                following.cancel()
    finally:
        ended.cancel()


async def _following(notices: AsyncIterator[Notice]) -> Notice:
    return await anext(notices)
