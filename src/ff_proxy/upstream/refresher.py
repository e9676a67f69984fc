"""Refreshing one environment from Harness: lists and single items, each independently."""

import asyncio
from collections.abc import Awaitable, Callable

from ff_proxy.errors import FfProxyError
from ff_proxy.model.environment import Change, Domain
from ff_proxy.upstream.context import UpstreamContext
from ff_proxy.upstream.credentials import Credentials
from ff_proxy.upstream.fetcher import Fetcher
from ff_proxy.upstream.item_refresher import ItemRefresher
from ff_proxy.upstream.list_refresher import ListRefresher
from ff_proxy.upstream.response_tracker import ResponseTracker
from ff_proxy.upstream.writer import EnvironmentWriter


class Refresher:
    """Refreshes one environment. No fetch waits for another (spec/behaviour#independence).

    Args:
        context: the API, time, and how many lists are fetched at the same time.
        credentials: provide the token, and renew it when Harness refuses it.
        writer: writes the store.
        response_tracker: tracks whether Harness responds.
        report: called after each list.

    Attributes:
        started: everything was requested since the start.
    """

    def __init__(
        self,
        context: UpstreamContext,
        credentials: Credentials,
        writer: EnvironmentWriter,
        response_tracker: ResponseTracker,
        report: Callable[[], Awaitable[None]],
    ) -> None:
        fetcher = Fetcher(context.api, context.telemetry)
        self._items = ItemRefresher(context, credentials, fetcher, writer, self._refresh_list)
        self._lists = {
            domain: ListRefresher(
                domain,
                context,
                credentials,
                fetcher,
                writer,
                response_tracker,
                report=report,
                refetch=self._items.refetch,
            )
            for domain in Domain
        }
        self.started = False

    @property
    def last_error(self) -> FfProxyError | None:
        """The error of the last fetch of a list, or ``None``."""
        return next(
            (refresher.last_error for refresher in self._lists.values() if refresher.last_error is not None),
            None,
        )

    @property
    def unconfirmed(self) -> list[str]:
        """Items that are still served although Harness's lists lack them."""
        return [refresher.unconfirmed for refresher in self._lists.values() if refresher.unconfirmed]

    def refresh_all(self) -> None:
        """Request a fetch of everything."""
        self.started = True
        for refresher in self._lists.values():
            refresher.refresh()

    def refresh(self, change: Change) -> None:
        """Fetch one item, or remove it if the change is a deletion."""
        self._items.refresh(change)

    async def run(self) -> None:
        """Run until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for refresher in self._lists.values():
                tasks.create_task(refresher.run())
            tasks.create_task(self._items.run())

    def _refresh_list(self, domain: Domain) -> None:
        self._lists[domain].refresh()
