"""Environments that a process serves by itself until Redis first answers.

See spec/behaviour#redis-optional.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Final

import msgspec

from ff_proxy.errors import StoreUnavailable
from ff_proxy.model.clock import Clock
from ff_proxy.model.environment import EnvironmentConfig, RecentChange, Revision, UpstreamStatus
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.store.change_feed import Feed
from ff_proxy.store.merge import apply_edit, merge
from ff_proxy.store.protocol import ChangeSource, Edit, Notice
from ff_proxy.store.redis.configs import RedisConfigs

# The timeout of Redis while environments are served without it.
_ANSWER_SECONDS: Final = 1.0
# How often to try a subscription while there is only our own feed.
_RESUBSCRIBE_SECONDS: Final = 2.0


class StandaloneConfigs:
    """Everything about environments, in Redis; those that ``stand_alone`` are kept here instead.

    A process that starts while Redis is away works without the lease: it keeps what Harness sends in memory,
    and ``join``s when Redis answers.
    """

    def __init__(self, shared: RedisConfigs, epoch: str, clock: Clock) -> None:
        self._shared = shared
        self._epoch = f"{epoch}.alone"
        self._clock = clock
        self._counter = 0
        self._own: dict[EnvironmentId, EnvironmentConfig | None] = {}
        self._feed = Feed()

    async def close(self) -> None:
        """Stop all lookups."""
        await self._shared.close()

    def stand_alone(self, environment: EnvironmentId) -> None:
        """Keep writes of ``environment`` here: Redis has not answered for it yet."""
        self._own.setdefault(environment, None)

    def standalone(self) -> frozenset[EnvironmentId]:
        """The environments that are kept here."""
        return frozenset(name for name, config in self._own.items() if config is not None)

    async def join(self, environment: EnvironmentId, *, leads: bool) -> None:
        """Redis answers: a member that ``leads`` writes its state there, since SDKs have seen it.

        Raises ``StoreUnavailable``; then the environment still stands alone.
        """
        own = self._own.get(environment)
        if own is not None and leads:
            await self._shared.replace(own)
        elif own is not None:
            self._shared.hold(own)
        if environment in self._own:
            del self._own[environment]
            self._feed.publish(Notice(environment, None if own is None else own.revision))

    def leave(self, environment: EnvironmentId) -> None:
        """This process stops following ``environment``: Redis counts from now on."""
        if environment in self._own:
            del self._own[environment]
            self._feed.publish(Notice(environment, None))

    async def environments(self) -> Mapping[EnvironmentId, Revision]:
        """See ``ConfigReader``; without Redis, those that are kept here or were read before."""
        own = {name: config.revision for name, config in self._own.items() if config is not None}
        return await (with_own(self._shared, own) if self._own else self._shared.environments())

    def held(self) -> Mapping[EnvironmentId, Revision]:
        """The revisions that were read before and are served while Redis does not answer."""
        return self._shared.held()

    async def revision(self, environment: EnvironmentId) -> Revision | None:
        """The environment's revision now, or ``None`` if Redis does not have it."""
        own = self._own.get(environment)
        return await self._shared.revision(environment) if own is None else own.revision

    async def environment(self, environment: EnvironmentId) -> EnvironmentConfig | None:
        """See ``ConfigReader``."""
        own = self._own.get(environment)
        if own is not None:
            return own
        if environment in self._own:
            return self._shared.held_config(environment)
        return await self._shared.environment(environment)

    async def recent(self, environment: EnvironmentId, since: float) -> Sequence[RecentChange]:
        """See ``ConfigReader``; changes of environments that are kept here were announced already."""
        return () if environment in self._own else await self._shared.recent(environment, since)

    async def replace(self, config: EnvironmentConfig) -> Revision:
        """See ``ConfigWriter``."""
        if config.id not in self._own:
            return await self._shared.replace(config)
        revision = self._write(config.id, lambda old: merge(old, config))
        assert revision is not None  # noqa: S101  (merge makes an environment of nothing)
        return revision

    async def apply(self, environment: EnvironmentId, edit: Edit) -> Revision | None:
        """See ``ConfigWriter``."""
        if environment not in self._own:
            return await self._shared.apply(environment, edit)
        return self._write(environment, lambda old: None if old is None else apply_edit(old, edit))

    async def remove(self, environment: EnvironmentId) -> None:
        """See ``ConfigWriter``."""
        if environment not in self._own:
            await self._shared.remove(environment)
            return
        self._own[environment] = None
        self._feed.publish(Notice(environment, None))

    def watch(self) -> AbstractAsyncContextManager[AsyncIterator[Notice]]:
        """See ``ChangeSource``; the iterator raises ``StoreUnavailable`` when the connection is lost."""
        return watching(self._feed, self._shared, lambda: bool(self._own))

    async def set_status(self, environment: EnvironmentId, status: UpstreamStatus) -> None:
        """See ``StatusStore``."""
        await self._shared.set_status(environment, status)

    async def statuses(self) -> Mapping[EnvironmentId, UpstreamStatus]:
        """See ``StatusStore``."""
        return await self._shared.statuses()

    def _write(
        self,
        environment: EnvironmentId,
        change: Callable[[EnvironmentConfig | None], EnvironmentConfig | None],
    ) -> Revision | None:
        old = self._own[environment] or self._shared.held_config(environment)
        new = change(old)
        if new is None:
            return None
        if new is old and self._own[environment] is old:
            return new.revision
        self._counter += 1
        revision = Revision(self._epoch, self._counter)
        since = self._clock.wall() if old is None else old.since
        self._own[environment] = msgspec.structs.replace(new, revision=revision, since=since)
        self._feed.publish(Notice(environment, revision))
        return revision


async def with_own(
    shared: "RedisConfigs | StandaloneConfigs", own: Mapping[EnvironmentId, Revision]
) -> Mapping[EnvironmentId, Revision]:
    """The environments in ``shared``, or while it does not answer those read before, and our ``own`` ones.

    Raises ``StoreUnavailable`` if it does not answer and there are no ``own`` ones.
    """
    try:
        async with _within(_ANSWER_SECONDS):
            found = dict(await shared.environments())
    except StoreUnavailable:
        if not own:
            raise
        found = dict(shared.held())
    return found | dict(own)


@asynccontextmanager
async def _within(seconds: float | None) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise StoreUnavailable("Redis: no answer in time", reported=True) from error


@asynccontextmanager
async def watching(
    own: ChangeSource, shared: ChangeSource, standalone: Callable[[], bool]
) -> AsyncIterator[AsyncIterator[Notice]]:
    """The notices of both; while ``standalone``, those of ``own`` if ``shared`` gives none."""
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(own.watch())
        try:
            async with _within(_ANSWER_SECONDS if standalone() else None):
                second = await stack.enter_async_context(shared.watch())
        except StoreUnavailable:
            if not standalone():
                raise
            yield _until_later(first)
        else:
            yield _merged(first, second)


async def _until_later(notices: AsyncIterator[Notice]) -> AsyncIterator[Notice]:
    """The notices of ``_RESUBSCRIBE_SECONDS``; then raises, so that Redis is tried again."""
    following: asyncio.Task[Notice] | None = None
    end = asyncio.get_running_loop().time() + _RESUBSCRIBE_SECONDS
    try:
        while True:
            following = asyncio.ensure_future(_next(notices))
            left = end - asyncio.get_running_loop().time()
            await asyncio.wait([following], timeout=max(0.0, left))
            if not following.done():
                raise StoreUnavailable("Redis is away: environments are followed without it", reported=True)
            yield following.result()
    finally:
        if following is not None:
            await _ended(following)


async def _merged(*sources: AsyncIterator[Notice]) -> AsyncIterator[Notice]:
    """The notices of all ``sources`` as they arrive, until one of them fails."""
    waiting = {asyncio.ensure_future(_next(source)): source for source in sources}
    try:
        while True:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                source = waiting.pop(task)
                notice = task.result()
                waiting[asyncio.ensure_future(_next(source))] = source
                yield notice
    finally:
        await _ended(*waiting)


async def _next(notices: AsyncIterator[Notice]) -> Notice:
    try:
        return await anext(notices)
    except StopAsyncIteration as end:
        raise StoreUnavailable("the subscription ended") from end


async def _ended(*tasks: asyncio.Task[Notice]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
