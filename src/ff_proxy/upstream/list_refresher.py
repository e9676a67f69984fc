"""Fetching all flags or all segments of one environment on request, with retries."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from ff_proxy.aio.waits import sleep_unless
from ff_proxy.errors import FfProxyError, StoreUnavailable, UpstreamError, UpstreamRefused
from ff_proxy.model.backoff import jittered, requested_wait
from ff_proxy.model.environment import Change, Domain
from ff_proxy.upstream.context import UpstreamContext
from ff_proxy.upstream.credentials import Credentials
from ff_proxy.upstream.failure_text import advice
from ff_proxy.upstream.fetcher import Fetcher
from ff_proxy.upstream.response_tracker import ResponseTracker
from ff_proxy.upstream.writer import CONFIRM_SECONDS, EnvironmentWriter, ListOutcome

DOMAIN_NOUNS: Final = {Domain.FLAG: "flags", Domain.SEGMENT: "target groups"}

Report = Callable[[], Awaitable[None]]


class ListRefresher:
    """Fetches all items of one kind.

    Args:
        domain: which kind.
        context: time, and how many lists are fetched at the same time.
        credentials: provide the token, and renew it when Harness refuses it.
        fetcher: fetches from Harness.
        writer: writes the store.
        response_tracker: tracks whether Harness responds.
        report: called after each fetch.
        refetch: called with items that a list has in an older version than announced.
    """

    def __init__(
        self,
        domain: Domain,
        context: UpstreamContext,
        credentials: Credentials,
        fetcher: Fetcher,
        writer: EnvironmentWriter,
        response_tracker: ResponseTracker,
        *,
        report: Report,
        refetch: Callable[[Change], None],
    ) -> None:
        self._domain: Final = domain
        self._credentials = credentials
        self._fetcher = fetcher
        self._writer = writer
        self._response_tracker = response_tracker
        self._context = context
        self._log = context.telemetry.logger("upstream")
        self._telemetry = context.telemetry
        self._schedule = context.schedule
        self._report = report
        self._refetch = refetch
        self._backoff = context.schedule.backoff()
        self._requested = asyncio.Event()
        self._unconfirmed: tuple[str, ...] = ()
        self.last_error: FfProxyError | None = None

    @property
    def unconfirmed(self) -> str:
        """Items that the last list lacked but are still served, for people; empty if none."""
        if not self._unconfirmed:
            return ""
        count, words = len(self._unconfirmed), DOMAIN_NOUNS[self._domain]
        return f"{count} {words} missing from Harness's list are kept until a second list lacks them too"

    def refresh(self) -> None:
        """Request a fetch."""
        self._requested.set()

    async def run(self) -> None:
        """Run until cancelled."""
        pause: float | None = None
        while True:
            if pause is None:
                await self._requested.wait()
            else:
                # New requests end the pause, but not what Harness asked to wait.
                if asked := min(requested_wait(self.last_error), pause):
                    await self._schedule.clock.sleep(asked)
                await sleep_unless(self._requested, self._schedule.clock, pause - asked)
            self._requested.clear()
            pause = await self._fetch()

    async def _fetch(self) -> float | None:
        """Fetch once; returns the seconds until the next try, or ``None`` when done."""
        try:
            async with self._context.fetching.place():
                self._response_tracker.request_sent(self._domain)
                ticket = self._writer.ticket()
                items = await self._credentials.call(
                    lambda session: self._fetcher.fetch_all(session, self._domain, self._writer.stored)
                )
            self._response_tracker.response_received(self._domain)
            outcome = await self._writer.put_list(self._credentials.environment, self._domain, items, ticket)
        except (UpstreamError, StoreUnavailable) as error:
            return await self._failed(error)
        except Exception:
            # The restarted service then begins with this request.
            self._requested.set()
            raise
        return await self._done(outcome)

    async def _failed(self, error: UpstreamError | StoreUnavailable) -> float:
        self.last_error = error
        await self._report()
        task, environment = DOMAIN_NOUNS[self._domain], self._credentials.environment.id
        if not isinstance(error, UpstreamRefused):
            self._telemetry.trouble(error, task, environment)
        else:
            self._telemetry.harness.failed(error, task, environment, advice=advice(error, "sdk-base-url"))
            # Harness did respond, and would refuse another member too.
            self._response_tracker.response_received(self._domain)
            return jittered(self._schedule.random, self._context.intervals.refused)
        return self._backoff.next(error)

    async def _done(self, outcome: ListOutcome) -> float | None:
        self.last_error = None
        self._unconfirmed = outcome.unconfirmed
        await self._report()
        self._backoff.reset()
        self._telemetry.recovered(DOMAIN_NOUNS[self._domain], self._credentials.environment.id)
        for change in outcome.outdated:
            self._refetch(change)
        if not outcome.unconfirmed:
            return None
        self._log.warning(
            "items missing from Harness's list, fetching again",
            environment=self._credentials.environment.id,
            kind=DOMAIN_NOUNS[self._domain],
            count=len(outcome.unconfirmed),
        )
        return CONFIRM_SECONDS
