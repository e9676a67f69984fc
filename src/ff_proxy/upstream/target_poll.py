"""Polling an environment's targets from the admin API (option ``target-poll-duration``)."""

from ff_proxy.errors import StoreUnavailable, UpstreamError
from ff_proxy.model.backoff import requested_wait
from ff_proxy.upstream.context import UpstreamContext
from ff_proxy.upstream.credentials import Credentials


class TargetPoll:
    """Stores the targets that Harness lists; targets that it does not list stay."""

    def __init__(self, context: UpstreamContext, credentials: Credentials) -> None:
        self._context = context
        self._credentials = credentials

    async def run(self) -> None:
        """Poll until cancelled."""
        while True:
            asked = await self.refresh()
            await self._context.schedule.sleep_jittered(self._context.intervals.targets, asked)

    async def refresh(self) -> float:
        """List and store once; returns the seconds that Harness asks to wait."""
        context, environment = self._context, self._credentials.environment
        try:
            async with context.listing.place():
                listing = await context.admin.targets(environment)
            await context.targets.put_many(environment.id, listing.entries)
        except (UpstreamError, StoreUnavailable) as error:
            context.telemetry.trouble(error, "targets", environment.id)
            return requested_wait(error)
        context.telemetry.recovered("targets", environment.id)
        return 0.0
