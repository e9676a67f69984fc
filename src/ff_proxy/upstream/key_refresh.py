"""Refreshing an environment's keys from the admin API (spec/behaviour#key-checks)."""

from collections.abc import Callable, Collection

from ff_proxy.aio.limiter import PatientLimiter
from ff_proxy.errors import StoreUnavailable, UpstreamError, UpstreamMalformed
from ff_proxy.model.backoff import requested_wait
from ff_proxy.model.keys import SdkKeyHash
from ff_proxy.telemetry import Telemetry
from ff_proxy.upstream.admin import AdminApi
from ff_proxy.upstream.credentials import Credentials
from ff_proxy.upstream.intervals import Schedule
from ff_proxy.upstream.writer import EnvironmentWriter


class KeyRefresh:
    """Refreshes one environment's keys. An empty, failed or partial listing changes nothing.

    Args:
        limiter: limits how many environments are listed at the same time.
        interval: seconds between listings.
        on_lost: called when the store no longer has the environment.
    """

    def __init__(
        self,
        *,
        admin: AdminApi,
        credentials: Credentials,
        writer: EnvironmentWriter,
        limiter: PatientLimiter,
        telemetry: Telemetry,
        schedule: Schedule,
        interval: float,
        on_lost: Callable[[], None],
    ) -> None:
        self._admin = admin
        self._credentials = credentials
        self._writer = writer
        self._limiter = limiter
        self._log = telemetry.logger("upstream")
        self._telemetry = telemetry
        self._schedule = schedule
        self._interval = interval
        self._on_lost = on_lost
        self._problem = ""
        self._requested_wait = 0.0
        self._listed_at = schedule.clock.monotonic()

    @property
    def problem(self) -> str:
        """Why the last listing was unusable; empty if it was usable."""
        return self._problem

    @property
    def age(self) -> float:
        """Seconds since the keys were listed, or since this began."""
        return self._schedule.clock.monotonic() - self._listed_at

    async def run(self) -> None:
        """Refresh until cancelled."""
        while True:
            await self.refresh()
            await self._schedule.sleep_jittered(self._interval, self._requested_wait)

    async def refresh(self) -> None:
        """List once and write the result."""
        subject = self._credentials.environment.id
        try:
            await self._list()
        except UpstreamError as error:
            # Keep the known keys.
            self._problem = str(error)
            self._requested_wait = requested_wait(error)
            self._telemetry.trouble(error, "keys", subject)
        else:
            self._problem = ""
            self._requested_wait = 0.0
            self._listed_at = self._schedule.clock.monotonic()
            self._telemetry.harness.answered("keys", subject)
        if not self._writer.loaded:
            return
        try:
            stored = await self._writer.save_keys()
        except StoreUnavailable as error:
            self._telemetry.trouble(error, "keys", subject)
        else:
            self._telemetry.store.answered("keys", subject)
            if not stored:
                self._on_lost()

    async def _list(self) -> None:
        async with self._limiter.place():
            listing = await self._admin.keys(self._credentials.environment)
        if not listing.complete:
            raise UpstreamMalformed("Harness's listing of keys is partial")
        if not listing.entries:
            raise UpstreamMalformed("Harness's listing of keys is empty")
        old = self._writer.ring.keys
        self._writer.ring.listed(listing.entries, await self._still_accepted(listing.entries))
        revoked = len(old - self._writer.ring.keys)
        added = len(self._writer.ring.keys - old)
        if revoked or added:
            self._log.info(
                "keys changed", environment=self._credentials.environment.id, added=added, revoked=revoked
            )

    async def _still_accepted(self, hashes: Collection[SdkKeyHash]) -> list[SdkKeyHash]:
        """Configured keys about to be revoked that Harness still accepts, or that cannot be checked."""
        unlisted = self._writer.ring.unconfirmed.difference(hashes)
        accepted: list[SdkKeyHash] = []
        for key in self._credentials.accepted:
            if key.hash in unlisted:
                try:
                    good = await self._credentials.verify(key)
                except UpstreamError:
                    good = True
                if good:
                    accepted.append(key.hash)
        return accepted
