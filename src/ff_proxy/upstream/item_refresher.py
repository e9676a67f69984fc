"""Fetching single items after events: each independently, until it has the announced version."""

import asyncio
from collections.abc import Callable
from typing import Final

import msgspec

from ff_proxy.aio.limiter import PatientLimiter
from ff_proxy.aio.waits import sleep_unless
from ff_proxy.errors import StoreUnavailable, UpstreamError, UpstreamRefused
from ff_proxy.model.backoff import requested_wait
from ff_proxy.model.environment import Action, Change, Domain
from ff_proxy.store.protocol import DropItem, PutItem
from ff_proxy.upstream.context import UpstreamContext
from ff_proxy.upstream.credentials import Credentials
from ff_proxy.upstream.fetcher import Fetcher
from ff_proxy.upstream.list_refresher import DOMAIN_NOUNS
from ff_proxy.upstream.writer import EnvironmentWriter

_NOT_FOUND: Final = 404
_MAX_CONCURRENT: Final = 8
# With more items than this, fetching the list is quicker.
_MAX_ITEMS: Final = 64
_INITIAL_DELAY: Final = 0.25
# After this long without the announced version, an item is left to the next list.
_GIVE_UP_SECONDS: Final = 900.0
# After this many failures in a row the list is fetched instead, with endless retries.
_MAX_FAILURES: Final = 3

_Key = tuple[Domain, str]


class _PendingFetch(msgspec.Struct, frozen=True):
    """A pending fetch: the announced change, when it was announced, and the tries so far."""

    change: Change
    since: float
    tries: int = 0


class _ItemTask:
    """The task of one item; it ends when nothing is pending, and asks Harness ``not_before`` a time."""

    def __init__(self, pending: _PendingFetch) -> None:
        self.pending: _PendingFetch | None = pending
        self.changed: Final = asyncio.Event()
        self.not_before = 0.0


class ItemRefresher:
    """Fetches the items that events name.

    Args:
        context: time; the poll interval is the longest delay while an item is older than announced.
        credentials: provide the token, and renew it when Harness refuses it.
        fetcher: fetches from Harness.
        writer: writes the store.
        refresh_list: fetches all items of a kind instead.
    """

    def __init__(
        self,
        context: UpstreamContext,
        credentials: Credentials,
        fetcher: Fetcher,
        writer: EnvironmentWriter,
        refresh_list: Callable[[Domain], None],
    ) -> None:
        self._credentials = credentials
        self._fetcher = fetcher
        self._writer = writer
        self._telemetry = context.telemetry
        self._schedule = context.schedule
        self._max_delay = context.intervals.poll
        self._refresh_list = refresh_list
        self._limiter = PatientLimiter(_MAX_CONCURRENT, context.schedule.clock)
        self._work: dict[_Key, _ItemTask] = {}
        self._started: asyncio.Queue[tuple[_Key, _ItemTask]] = asyncio.Queue()

    def refresh(self, change: Change) -> None:
        """Fetch one item, or remove it if the change is a deletion."""
        self._writer.announce(change)
        if self._writer.loaded:
            self._start(change)
        else:
            # The environment is not stored yet: the next list includes the item.
            self._refresh_list(change.domain)

    def refetch(self, change: Change) -> None:
        """A list has an older version of the item: fetch it, unless a fetch is running."""
        if (change.domain, change.identifier) not in self._work:
            self._start(change)

    async def run(self) -> None:
        """Run until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                key, work = await self._started.get()
                tasks.create_task(self._fetch_until_current(key, work))

    def _start(self, change: Change) -> None:
        key = change.domain, change.identifier
        pending = _PendingFetch(change, self._schedule.clock.monotonic())
        work = self._work.get(key)
        if work is not None:
            work.pending = pending
            work.changed.set()
        elif len(self._work) >= _MAX_ITEMS:
            self._refresh_list(change.domain)
        else:
            work = self._work[key] = _ItemTask(pending)
            self._started.put_nowait((key, work))

    async def _fetch_until_current(self, key: _Key, work: _ItemTask) -> None:
        """Fetch one item until it has the last announced version."""
        try:
            while (pending := work.pending) is not None:
                work.changed.clear()
                asked = work.not_before - self._schedule.clock.monotonic()
                if asked > 0 and not _is_known_deletion(pending):
                    await sleep_unless(work.changed, self._schedule.clock, asked)
                    continue
                work.pending = None
                wait = await self._fetch_once(pending, work)
                if wait is None or work.pending is not None:
                    continue
                await sleep_unless(work.changed, self._schedule.clock, wait)
                if work.pending is None:
                    work.pending = msgspec.structs.replace(pending, tries=pending.tries + 1)
        except Exception:
            # The restarted service will not know of this item.
            self._refresh_list(key[0])
            raise
        finally:
            del self._work[key]
            if not self._work:
                # The list fetch covers items that could not be fetched alone, and reports its own failures.
                self._telemetry.harness.answered("single items", self._credentials.environment.id)

    async def _fetch_once(self, pending: _PendingFetch, work: _ItemTask) -> float | None:
        """Fetch and write; returns the seconds until the next try, or ``None`` when done."""
        ticket = self._writer.ticket()
        environment, kind = self._credentials.environment.id, DOMAIN_NOUNS[pending.change.domain]
        try:
            edit, current = await self._edit(pending)
            if edit is not None:
                stored = await self._writer.put_item(edit, ticket)
                self._telemetry.store.answered(kind, environment)
                if not stored:
                    self._refresh_list(Domain.FLAG)
                    self._refresh_list(Domain.SEGMENT)
                    return None
        except (UpstreamError, StoreUnavailable) as error:
            # The store has recovered once this write, or that of the list, succeeds.
            store_failed = isinstance(error, StoreUnavailable)
            self._telemetry.trouble(error, kind if store_failed else "single items", environment)
            asked = requested_wait(error)
            work.not_before = self._schedule.clock.monotonic() + asked
            if pending.tries >= _MAX_FAILURES:
                if asked:
                    await self._schedule.clock.sleep(asked)
                self._refresh_list(pending.change.domain)
                return None
            return self._wait(pending)
        age = self._schedule.clock.monotonic() - pending.since
        return None if current or age > _GIVE_UP_SECONDS else self._wait(pending)

    async def _edit(self, pending: _PendingFetch) -> tuple[PutItem | DropItem | None, bool]:
        """The edit, if any, and whether it has the announced version."""
        change = pending.change
        drop = DropItem(change.domain, change.identifier)
        if _is_known_deletion(pending):
            # The deletion was just announced. Later, check first: the item may have been created again.
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
            # A lagging replica or an undone change: only the second 404 counts.
            return (drop if pending.tries else None), False
        if item is None:
            return None, True
        return PutItem(item), item.version >= change.version

    def _wait(self, pending: _PendingFetch) -> float:
        return min(_INITIAL_DELAY * 2.0**pending.tries, self._max_delay)


def _is_known_deletion(pending: _PendingFetch) -> bool:
    """Whether it was just announced, so that Harness need not be asked."""
    return pending.change.action is Action.DELETE and not pending.tries
