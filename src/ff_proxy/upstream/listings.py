"""Refreshing an environment's keys and targets from listings of the admin API."""

from collections.abc import Callable, Collection

from ff_proxy.errors import StoreUnavailable, UpstreamError, UpstreamMalformed
from ff_proxy.model.backoff import requested_wait
from ff_proxy.model.keys import EnvironmentId, SdkKeyHash
from ff_proxy.upstream.context import UpstreamContext
from ff_proxy.upstream.credentials import Credentials
from ff_proxy.upstream.writer import EnvironmentWriter


class KeyRefresh:
    """Refreshes one environment's keys (spec/behaviour#key-checks).

    An empty, failed or partial listing changes nothing.

    Args:
        context: the admin API, and the time between listings.
        credentials: the configured keys.
        writer: writes the keys.
        on_lost: called when the store no longer has the environment.

    Attributes:
        problem: why the last listing was unusable; empty if it was usable.
    """

    def __init__(
        self,
        context: UpstreamContext,
        credentials: Credentials,
        writer: EnvironmentWriter,
        on_lost: Callable[[], None],
    ) -> None:
        self._context = context
        self._credentials = credentials
        self._writer = writer
        self._telemetry = context.telemetry
        self._log = context.telemetry.logger("upstream")
        self._clock = context.schedule.clock
        self._on_lost = on_lost
        self._listed_at = self._clock.monotonic()
        self.problem = ""

    @property
    def age(self) -> float:
        """Seconds since the keys were listed, or since this began."""
        return self._clock.monotonic() - self._listed_at

    async def run(self) -> None:
        """Refresh until cancelled."""
        while True:
            asked = await self.refresh()
            await self._context.schedule.sleep_jittered(self._context.intervals.keys, asked)

    async def refresh(self) -> float:
        """List once and write the result; returns the seconds that Harness asks to wait."""
        subject = self._credentials.environment.id
        asked = 0.0
        try:
            await self._list()
        except UpstreamError as error:
            # Keep the known keys.
            self.problem = str(error)
            asked = requested_wait(error)
            self._telemetry.trouble(error, "keys", subject)
        else:
            self.problem = ""
            self._listed_at = self._clock.monotonic()
            self._telemetry.harness.answered("keys", subject)
        if self._writer.loaded:
            await self._save(subject)
        return asked

    async def _save(self, subject: EnvironmentId) -> None:
        try:
            stored = await self._writer.save_keys()
        except StoreUnavailable as error:
            self._telemetry.trouble(error, "keys", subject)
        else:
            self._telemetry.store.answered("keys", subject)
            if not stored:
                self._on_lost()

    async def _list(self) -> None:
        async with self._context.listing.place():
            listing = await self._context.admin.keys(self._credentials.environment)
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


class TargetPoll:
    """Stores the targets that Harness lists (option ``target-poll-duration``); others stay."""

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
