"""Bringing one environment of the store up to date with SaaS: lists and single items, each on its own."""

import asyncio
from collections.abc import Awaitable, Callable

from ff_proxy.aio.limiter import PatientLimiter
from ff_proxy.errors import FfProxyError
from ff_proxy.model.environment import Change, Domain
from ff_proxy.telemetry import Telemetry
from ff_proxy.upstream.contact import Contact
from ff_proxy.upstream.credentials import Credentials
from ff_proxy.upstream.fetcher import Fetcher
from ff_proxy.upstream.intervals import Intervals, Schedule
from ff_proxy.upstream.item_refresher import ItemRefresher
from ff_proxy.upstream.list_refresher import ListRefresher
from ff_proxy.upstream.writer import EnvironmentWriter


class Refresher:
    """What is fetched of one environment. Nothing waits for a neighbour (spec/behaviour#independence).

    Args:
        credentials: whose token is used, and renewed when SaaS refuses it.
        fetcher: asks SaaS.
        writer: writes the store.
        contact: learns whether SaaS answers.
        limiter: bounds how many lists of all environments are fetched at the same time.
        pace: how often things are asked for again.
        report: is called after each list.
    """

    def __init__(
        self,
        *,
        credentials: Credentials,
        fetcher: Fetcher,
        writer: EnvironmentWriter,
        contact: Contact,
        limiter: PatientLimiter,
        telemetry: Telemetry,
        rhythm: Schedule,
        pace: Intervals,
        report: Callable[[], Awaitable[None]],
    ) -> None:
        self._writer = writer
        self._begun = False
        self._items = ItemRefresher(
            credentials=credentials,
            fetcher=fetcher,
            writer=writer,
            telemetry=telemetry,
            rhythm=rhythm,
            longest=pace.poll,
            refresh_list=self._refresh_list,
        )
        self._lists = {
            domain: ListRefresher(
                domain,
                credentials=credentials,
                fetcher=fetcher,
                writer=writer,
                contact=contact,
                limiter=limiter,
                telemetry=telemetry,
                rhythm=rhythm,
                refused=pace.refused,
                report=report,
                behind=self._items.look_again,
            )
            for domain in Domain
        }

    @property
    def trouble(self) -> FfProxyError | None:
        """Why the last fetch of a list failed, ``None`` if none did."""
        return next((one.trouble for one in self._lists.values() if one.trouble is not None), None)

    @property
    def doubts(self) -> list[str]:
        """What is still served although Harness's lists lack it."""
        return [one.doubt for one in self._lists.values() if one.doubt]

    @property
    def begun(self) -> bool:
        """Everything was asked for since the start."""
        return self._begun

    def refresh_all(self) -> None:
        """Fetch everything as soon as possible."""
        self._begun = True
        for one in self._lists.values():
            one.refresh()

    def refresh(self, change: Change) -> None:
        """Fetch one item, or drop it if that is what happened to it."""
        self._items.refresh(change)

    async def run(self) -> None:
        """Work for ever."""
        async with asyncio.TaskGroup() as tasks:
            for one in self._lists.values():
                tasks.create_task(one.run())
            tasks.create_task(self._items.run())

    def _refresh_list(self, domain: Domain) -> None:
        self._lists[domain].refresh()
