"""Fetching single items of one environment after events: each on its own, until it is what was announced."""

import asyncio
from collections.abc import Callable
from typing import Final

import msgspec

from ff_proxy.aio.limiter import PatientLimiter
from ff_proxy.aio.waits import sleep_unless
from ff_proxy.errors import StoreUnavailable, UpstreamError, UpstreamRefused
from ff_proxy.model.environment import Action, Change, Domain
from ff_proxy.store.protocol import DropItem, PutItem
from ff_proxy.telemetry import Telemetry
from ff_proxy.upstream.credentials import Credentials
from ff_proxy.upstream.fetcher import Fetcher
from ff_proxy.upstream.intervals import Schedule
from ff_proxy.upstream.writer import EnvironmentWriter

_NOT_FOUND: Final = 404
_AT_ONCE: Final = 8
_PATIENCE: Final = 2.0
# With more than this to fetch one by one, fetching the list is quicker.
_MOST_ITEMS: Final = 64
_FIRST_WAIT: Final = 0.25
# An item that is not what was announced after so long is left to the next list.
_GIVE_UP_SECONDS: Final = 900.0
# After so many failures in a row the list is asked for, which goes on for as long as it takes.
_MOST_FAILURES: Final = 3

_Key = tuple[Domain, str]


class _Due(msgspec.Struct, frozen=True):
    """An item to fetch: what was said of it and when, and how often it was asked for since."""

    change: Change
    since: float
    tries: int = 0


class _Work:
    """One item: what is due, and the event that says so. Its task ends when nothing is."""

    def __init__(self, due: _Due) -> None:
        self.due: _Due | None = due
        self.news: Final = asyncio.Event()


class ItemRefresher:
    """The items that events name.

    Args:
        credentials: whose token is used, and renewed when SaaS refuses it.
        fetcher: asks SaaS.
        writer: writes the store.
        longest: seconds between tries at most, when an item is not yet what was announced.
        refresh_list: fetches all items of a kind, where that is quicker or single ones cannot be had.
    """

    def __init__(
        self,
        *,
        credentials: Credentials,
        fetcher: Fetcher,
        writer: EnvironmentWriter,
        telemetry: Telemetry,
        rhythm: Schedule,
        longest: float,
        refresh_list: Callable[[Domain], None],
    ) -> None:
        self._credentials = credentials
        self._fetcher = fetcher
        self._writer = writer
        self._telemetry = telemetry
        self._rhythm = rhythm
        self._longest = longest
        self._refresh_list = refresh_list
        self._limiter = PatientLimiter(_AT_ONCE, _PATIENCE, rhythm.clock)
        self._work: dict[_Key, _Work] = {}
        self._started: asyncio.Queue[tuple[_Key, _Work]] = asyncio.Queue()

    def refresh(self, change: Change) -> None:
        """Fetch one item, or drop it if that is what happened to it."""
        self._writer.announce(change)
        if self._writer.loaded:
            self._begin(change)
        else:
            # There is nothing to put it into yet: a list that begins now brings it.
            self._refresh_list(change.domain)

    def look_again(self, change: Change) -> None:
        """A list has an older form of the item: fetch it, unless that is under way."""
        if (change.domain, change.identifier) not in self._work:
            self._begin(change)

    async def run(self) -> None:
        """Work for ever."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                key, work = await self._started.get()
                tasks.create_task(self._settle(key, work))

    def _begin(self, change: Change) -> None:
        key = change.domain, change.identifier
        due = _Due(change, self._rhythm.clock.monotonic())
        work = self._work.get(key)
        if work is not None:
            work.due = due
            work.news.set()
        elif len(self._work) >= _MOST_ITEMS:
            self._refresh_list(change.domain)
        else:
            work = self._work[key] = _Work(due)
            self._started.put_nowait((key, work))

    async def _settle(self, key: _Key, work: _Work) -> None:
        """Fetch one item until it is what was last announced of it."""
        try:
            while (due := work.due) is not None:
                work.due = None
                work.news.clear()
                wait = await self._once_more(due)
                if wait is None or work.due is not None:
                    continue
                await sleep_unless(work.news, self._rhythm.clock, wait)
                if work.due is None:
                    work.due = msgspec.structs.replace(due, tries=due.tries + 1)
        except Exception:
            # Whoever runs this begins again, and knows nothing of the item any more.
            self._refresh_list(key[0])
            raise
        finally:
            del self._work[key]
            if not self._work:
                # What could not be had alone comes with the list, which says so if it does not.
                self._telemetry.recovered("single items", self._credentials.environment.id)

    async def _once_more(self, due: _Due) -> float | None:
        """Fetch and write; the seconds until the next try, ``None`` if there is no need for one."""
        ticket = self._writer.ticket()
        try:
            edit, current = await self._edit(due)
            if edit is not None and not await self._writer.put_item(edit, ticket):
                self._refresh_list(Domain.FLAG)
                self._refresh_list(Domain.SEGMENT)
                return None
        except (UpstreamError, StoreUnavailable) as error:
            self._telemetry.trouble(error, "single items", self._credentials.environment.id)
            if due.tries >= _MOST_FAILURES:
                self._refresh_list(due.change.domain)
                return None
            return self._wait(due)
        age = self._rhythm.clock.monotonic() - due.since
        return None if current or age > _GIVE_UP_SECONDS else self._wait(due)

    async def _edit(self, due: _Due) -> tuple[PutItem | DropItem | None, bool]:
        """What to write, if anything, and whether that is as new as announced."""
        change = due.change
        drop = DropItem(change.domain, change.identifier)
        if change.action is Action.DELETE and not due.tries:
            # Said a moment ago. Later it is asked for first: it may have been made again meanwhile.
            return drop, True
        try:
            async with self._limiter.place():
                item = await self._credentials.call(
                    lambda session: self._fetcher.item(session, change.domain, change.identifier)
                )
        except UpstreamRefused as refused:
            if refused.status != _NOT_FOUND:
                raise
            if change.action is Action.DELETE:
                return drop, True
            # A copy that lags, or a change that was undone: one that is gone twice is gone.
            return (drop if due.tries else None), False
        if item is None:
            return None, True
        return PutItem(item), item.version >= change.version

    def _wait(self, due: _Due) -> float:
        return min(_FIRST_WAIT * 2.0**due.tries, self._longest)
