"""Keeping an environment's keys in step with what the admin API lists (spec/behaviour#key-checks)."""

from collections.abc import Callable, Collection

from ff_proxy.aio.limiter import PatientLimiter
from ff_proxy.errors import StoreUnavailable, UpstreamError, UpstreamMalformed
from ff_proxy.model.keys import SdkKeyHash
from ff_proxy.telemetry import Telemetry
from ff_proxy.upstream.admin import AdminApi
from ff_proxy.upstream.credentials import Credentials
from ff_proxy.upstream.intervals import Schedule
from ff_proxy.upstream.writer import EnvironmentWriter


class KeyRefresh:
    """One environment's keys. A listing that is empty, failed or partial changes nothing.

    Args:
        limiter: bounds how many environments are listed at the same time.
        interval: seconds between listings.
        lost: is called when the store turns out not to hold the environment any more.
    """

    def __init__(
        self,
        *,
        admin: AdminApi,
        credentials: Credentials,
        writer: EnvironmentWriter,
        limiter: PatientLimiter,
        telemetry: Telemetry,
        rhythm: Schedule,
        interval: float,
        lost: Callable[[], None],
    ) -> None:
        self._admin = admin
        self._credentials = credentials
        self._writer = writer
        self._limiter = limiter
        self._log = telemetry.logger("upstream")
        self._telemetry = telemetry
        self._rhythm = rhythm
        self._interval = interval
        self._lost = lost
        self._trouble = ""
        self._listed_at = rhythm.clock.monotonic()

    @property
    def trouble(self) -> str:
        """Why the last listing could not be used; empty if it could."""
        return self._trouble

    @property
    def age(self) -> float:
        """Seconds since the keys were listed, or since this began."""
        return self._rhythm.clock.monotonic() - self._listed_at

    async def run(self) -> None:
        """Refresh for ever."""
        while True:
            await self.refresh()
            await self._rhythm.rest(self._interval)

    async def refresh(self) -> None:
        """List once and write what follows from it."""
        subject = self._credentials.environment.id
        try:
            await self._list()
        except UpstreamError as error:
            # The known keys stay.
            self._trouble = str(error)
            self._telemetry.trouble(error, "keys", subject)
        else:
            self._trouble = ""
            self._listed_at = self._rhythm.clock.monotonic()
            self._telemetry.recovered("keys", subject)
        try:
            if self._writer.loaded and not await self._writer.save_keys():
                self._lost()
        except StoreUnavailable as error:
            self._telemetry.trouble(error, "keys", subject)

    async def _list(self) -> None:
        async with self._limiter.place():
            listing = await self._admin.keys(self._credentials.environment)
        if not listing.complete:
            raise UpstreamMalformed("Harness's listing of keys is partial")
        if not listing.entries:
            raise UpstreamMalformed("Harness's listing of keys is empty")
        before = self._writer.ring.keys
        self._writer.ring.listed(listing.entries, await self._vouched(listing.entries))
        revoked = len(before - self._writer.ring.keys)
        added = len(self._writer.ring.keys - before)
        if revoked or added:
            self._log.info(
                "keys changed", environment=self._credentials.environment.id, added=added, revoked=revoked
            )

    async def _vouched(self, listed: Collection[SdkKeyHash]) -> list[SdkKeyHash]:
        """Configured keys about to be revoked that SaaS nevertheless accepts, or cannot be asked about."""
        doubtful = self._writer.ring.missed.difference(listed)
        vouched: list[SdkKeyHash] = []
        for key in self._credentials.accepted:
            if key.hash in doubtful:
                try:
                    good = await self._credentials.verify(key)
                except UpstreamError:
                    good = True
                if good:
                    vouched.append(key.hash)
        return vouched
