"""Bringing the store up to date with SaaS: whole environments and single items, never both at once.

A whole fetch that ran beside a fetch of one item could write the older state over the newer one, so
one loop does either the one or the other; what is asked for meanwhile waits, the newest per item.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from ff_proxy.errors import FfProxyError, StoreUnavailable, UpstreamError, UpstreamRefused
from ff_proxy.model.backoff import jittered
from ff_proxy.model.environment import Action, Change, Domain
from ff_proxy.store.protocol import DropItem, PutItem
from ff_proxy.telemetry import Telemetry
from ff_proxy.upstream.credentials import Credentials
from ff_proxy.upstream.fetcher import Fetcher
from ff_proxy.upstream.intervals import Schedule
from ff_proxy.upstream.writer import EnvironmentWriter

_NOT_FOUND: Final = 404
_AT_ONCE: Final = 8
# With more than this to fetch one by one, fetching everything is quicker.
_MOST_ITEMS: Final = 64
# Waits before an item is asked for again that was not there yet, or not in the version announced.
_AGAIN: Final = (0.25, 1.0, 3.0)

Report = Callable[[FfProxyError | None], Awaitable[None]]

_Key = tuple[Domain, str]


class _Due(msgspec.Struct, frozen=True):
    """An item to fetch: what was said of it, and how often it was asked for before."""

    change: Change
    tries: int = 0

    @property
    def key(self) -> _Key:
        return self.change.domain, self.change.identifier


class Refresher:
    """One environment's work list.

    Args:
        credentials: whose token is used, and renewed when SaaS refuses it.
        fetcher: asks SaaS.
        writer: writes the store.
        gate: bounds how many environments are fetched whole at the same time.
        refused: seconds between tries once SaaS refuses every key.
        report: is told how each whole fetch ended.
    """

    def __init__(
        self,
        *,
        credentials: Credentials,
        fetcher: Fetcher,
        writer: EnvironmentWriter,
        gate: asyncio.Semaphore,
        telemetry: Telemetry,
        rhythm: Schedule,
        refused: float,
        report: Report,
    ) -> None:
        self._credentials = credentials
        self._fetcher = fetcher
        self._writer = writer
        self._gate = gate
        self._log = telemetry.logger("upstream")
        self._once = telemetry.once("upstream")
        self._rhythm = rhythm
        self._refused = refused
        self._report = report
        self._backoff = rhythm.backoff()
        self._wake = asyncio.Event()
        self._all_due = False
        self._begun = False
        self._running = False
        self._due: dict[_Key, _Due] = {}
        self._retry: asyncio.Task[None] | None = None
        self._later: set[_Key] = set()
        self._trouble: FfProxyError | None = None

    @property
    def trouble(self) -> FfProxyError | None:
        """Why the last whole fetch failed, ``None`` if it did not."""
        return self._trouble

    @property
    def begun(self) -> bool:
        """A whole fetch was asked for since the start."""
        return self._begun

    def refresh_all(self) -> None:
        """Fetch everything as soon as possible."""
        self._begun = True
        self._all_due = True
        self._wake.set()

    def refresh(self, change: Change) -> None:
        """Fetch one item, or drop it if that is what happened to it."""
        self._enqueue(_Due(change))

    async def run(self) -> None:
        """Work for ever; begun again after a failure, it fetches everything, since what was due is lost."""
        if self._running:
            self.refresh_all()
        self._running = True
        async with asyncio.TaskGroup() as tasks:
            while True:
                await self._wake.wait()
                self._wake.clear()
                if self._all_due:
                    self._all_due = False
                    await self._everything(tasks)
                due, self._due = self._due, {}
                await self._items(due, tasks)

    def _enqueue(self, due: _Due) -> None:
        self._due[due.key] = due
        if len(self._due) > _MOST_ITEMS:
            self._due.clear()
            self._all_due = True
        self._wake.set()

    async def _everything(self, tasks: asyncio.TaskGroup) -> None:
        try:
            async with self._gate:
                contents = await self._credentials.call(
                    lambda session: self._fetcher.everything(session, self._writer.held)
                )
                await self._writer.load(self._credentials.environment, contents.flags, contents.segments)
        except (UpstreamError, StoreUnavailable) as error:
            self._trouble = error
            await self._report(error)
            self._once.warning("not in step with SaaS", self._subject, error=str(error))
            refused = isinstance(error, UpstreamRefused)
            delay = jittered(self._rhythm.random, self._refused) if refused else self._backoff.next(error)
            if self._retry is None:
                self._retry = tasks.create_task(self._everything_later(delay))
        else:
            self._trouble = None
            await self._report(None)
            self._backoff.reset()
            if self._retry is not None:
                self._retry.cancel()
                self._retry = None
            if self._once.forget("not in step with SaaS", self._subject):
                self._log.info("in step with SaaS again", environment=self._subject)

    async def _everything_later(self, delay: float) -> None:
        await self._rhythm.sleep(delay)
        self._retry = None
        self.refresh_all()

    async def _items(self, due: dict[_Key, _Due], tasks: asyncio.TaskGroup) -> None:
        if not self._writer.loaded:
            # The first whole fetch, which is still to come, brings them.
            return
        slots = asyncio.Semaphore(_AT_ONCE)
        async with asyncio.TaskGroup() as fetches:
            for item in due.values():
                fetches.create_task(self._item(item, slots, tasks))

    async def _item(self, due: _Due, slots: asyncio.Semaphore, tasks: asyncio.TaskGroup) -> None:
        try:
            async with slots:
                edit, current = await self._edit(due.change)
                if edit is not None and not await self._writer.apply(edit):
                    self.refresh_all()
        except (UpstreamError, StoreUnavailable) as error:
            self._once.warning("item not fetched", self._subject, error=str(error))
            if not self._again(due, tasks):
                self.refresh_all()
        else:
            if not current:
                self._again(due, tasks)

    async def _edit(self, change: Change) -> tuple[PutItem | DropItem | None, bool]:
        """What to write, if anything, and whether that is as new as ``change`` says."""
        drop = DropItem(change.domain, change.identifier)
        if change.action is Action.DELETE:
            return drop, True
        try:
            item = await self._credentials.call(
                lambda session: self._fetcher.item(session, change.domain, change.identifier)
            )
        except UpstreamRefused as refused:
            if refused.status != _NOT_FOUND:
                raise
            return drop, False
        if item is None:
            return None, True
        return PutItem(item), item.version >= change.version

    def _again(self, due: _Due, tasks: asyncio.TaskGroup) -> bool:
        """Ask for the item again after a while; ``False`` if that was done often enough."""
        if due.tries >= len(_AGAIN) or len(self._later) >= _MOST_ITEMS:
            return False
        if due.key not in self._later:
            self._later.add(due.key)
            tasks.create_task(self._item_later(due))
        return True

    async def _item_later(self, due: _Due) -> None:
        await self._rhythm.sleep(_AGAIN[due.tries])
        self._later.discard(due.key)
        if due.key not in self._due:
            self._enqueue(msgspec.structs.replace(due, tries=due.tries + 1))

    @property
    def _subject(self) -> str:
        return self._credentials.environment.id
