"""Polling an environment's targets from the admin API (option ``target-poll-duration``)."""

from ff_proxy.aio.limiter import PatientLimiter
from ff_proxy.errors import StoreUnavailable, UpstreamError
from ff_proxy.model.backoff import requested_wait
from ff_proxy.store.protocol import TargetStore
from ff_proxy.telemetry import Telemetry
from ff_proxy.upstream.admin import AdminApi
from ff_proxy.upstream.credentials import Credentials
from ff_proxy.upstream.intervals import Schedule


class TargetPoll:
    """Stores the targets that Harness lists; targets that it does not list stay.

    Args:
        limiter: limits how many environments are listed at the same time.
        interval: seconds between listings, more than 0.
    """

    def __init__(
        self,
        *,
        admin: AdminApi,
        credentials: Credentials,
        targets: TargetStore,
        limiter: PatientLimiter,
        telemetry: Telemetry,
        schedule: Schedule,
        interval: float,
    ) -> None:
        self._admin = admin
        self._credentials = credentials
        self._targets = targets
        self._limiter = limiter
        self._telemetry = telemetry
        self._schedule = schedule
        self._interval = interval
        self._requested_wait = 0.0

    async def run(self) -> None:
        """Poll until cancelled."""
        while True:
            await self.refresh()
            await self._schedule.sleep_jittered(self._interval, self._requested_wait)

    async def refresh(self) -> None:
        """List and store once."""
        environment = self._credentials.environment
        try:
            async with self._limiter.place():
                listing = await self._admin.targets(environment)
            await self._targets.put_many(environment.id, listing.entries)
        except (UpstreamError, StoreUnavailable) as error:
            self._requested_wait = requested_wait(error)
            self._telemetry.trouble(error, "targets", environment.id)
        else:
            self._requested_wait = 0.0
            self._telemetry.recovered("targets", environment.id)
