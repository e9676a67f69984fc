"""One environment, kept in step with SaaS: followed while its stream lives, polled while it does not."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, NoReturn

from ff_proxy.aio.keep_going import keep_going
from ff_proxy.aio.limiter import PatientLimiter
from ff_proxy.errors import StoreUnavailable, UpstreamRefused
from ff_proxy.model.environment import EnvironmentConfig, StreamState
from ff_proxy.model.keys import SdkKeyHash
from ff_proxy.model.verdict import KeyVerdict
from ff_proxy.store.protocol import ConfigStore, TargetStore
from ff_proxy.telemetry import Telemetry
from ff_proxy.upstream.admin import AdminApi
from ff_proxy.upstream.client import ClientApi
from ff_proxy.upstream.contact import Contact
from ff_proxy.upstream.credentials import Credentials
from ff_proxy.upstream.fetcher import Fetcher
from ff_proxy.upstream.intervals import Intervals, Schedule
from ff_proxy.upstream.key_refresh import KeyRefresh
from ff_proxy.upstream.refresher import Refresher
from ff_proxy.upstream.status_reporter import StatusReporter
from ff_proxy.upstream.stream_follower import Follower
from ff_proxy.upstream.target_poll import TargetPoll
from ff_proxy.upstream.writer import EnvironmentWriter, KeyRing


@dataclass(frozen=True, slots=True)
class SharedUpstream:
    """What all environments work with.

    ``fetching`` and ``listing`` bound how many environments are fetched whole, and listed through the
    admin API, at the same time.
    """

    api: ClientApi
    admin: AdminApi
    configs: ConfigStore
    targets: TargetStore
    telemetry: Telemetry
    rhythm: Schedule
    pace: Intervals
    fetching: PatientLimiter
    listing: PatientLimiter


class Environment:
    """Keeps one environment's flags, segments, keys and targets in step.

    Args:
        credentials: its keys and token.
        held: what the store holds of it already.
    """

    def __init__(
        self,
        credentials: Credentials,
        held: EnvironmentConfig | None,
        shared: SharedUpstream,
    ) -> None:
        configured = {key.hash for key in credentials.accepted}
        known = held.keys if held is not None else frozenset()
        self._credentials = credentials
        self._writer = EnvironmentWriter(
            shared.configs,
            credentials.environment.id,
            KeyRing(known | configured),
            shared.rhythm.clock,
            loaded=held is not None,
        )
        self._name = credentials.environment.id
        self._failures = shared.telemetry.failures
        self._notices = shared.telemetry.notices("upstream")
        self._pace = shared.pace
        self._api = shared.api
        self.contact: Final = Contact(shared.rhythm.clock)
        self._rhythm = shared.rhythm
        self._status = StatusReporter(
            credentials.environment.id,
            shared.configs,
            shared.rhythm.clock,
            shared.telemetry,
            lambda: self.trouble,
        )
        self._refresher = Refresher(
            credentials=credentials,
            fetcher=Fetcher(shared.api, shared.telemetry),
            writer=self._writer,
            contact=self.contact,
            limiter=shared.fetching,
            telemetry=shared.telemetry,
            rhythm=shared.rhythm,
            pace=shared.pace,
            report=self._fetched,
        )
        self._follower = Follower(
            credentials=credentials,
            api=shared.api,
            refresher=self._refresher,
            status=self._status,
            pace=shared.pace,
            telemetry=shared.telemetry,
            rhythm=shared.rhythm,
        )
        self._keys = KeyRefresh(
            admin=shared.admin,
            credentials=credentials,
            writer=self._writer,
            limiter=shared.listing,
            telemetry=shared.telemetry,
            rhythm=shared.rhythm,
            interval=shared.pace.keys,
            lost=self._refresher.refresh_all,
        )
        self._targets = TargetPoll(
            admin=shared.admin,
            credentials=credentials,
            targets=shared.targets,
            limiter=shared.listing,
            telemetry=shared.telemetry,
            rhythm=shared.rhythm,
            interval=shared.pace.targets,
        )

    @property
    def loaded(self) -> bool:
        """The store holds the environment."""
        return self._writer.loaded

    @property
    def heard_at(self) -> float:
        """The monotonic second at which the stream last said anything."""
        return self._follower.heard_at

    @property
    def keys_age(self) -> float:
        """Seconds since Harness listed the keys."""
        return self._keys.age

    @property
    def refused(self) -> bool:
        """SaaS definitely refuses to give the environment."""
        return isinstance(self._refresher.trouble, UpstreamRefused)

    @property
    def trouble(self) -> str:
        """What is not as it should be, for people; empty if nothing."""
        fetch, status = self._refresher.trouble, self._status.current
        stream = self._pace.stream and status.state is StreamState.DISCONNECTED
        reasons = [
            f"not in step: {fetch}" if fetch is not None else "",
            *self._refresher.doubts,
            f"stream down: {status.detail}" if stream else "",
            f"keys not refreshed: {self._keys.trouble}" if self._keys.trouble else "",
        ]
        return "; ".join(filter(None, reasons))

    async def run(self) -> None:
        """Keep the environment in step for ever."""
        try:
            await self._keep()
        finally:
            self._status.end()

    async def accept(self, key: SdkKeyHash) -> KeyVerdict:
        """One more key that SaaS accepts for this environment; it counts once this returns ``ACCEPTED``."""
        self._writer.ring.accept(key)
        try:
            saved = self._writer.loaded and await self._writer.save_keys()
        except StoreUnavailable:
            return KeyVerdict.UNAVAILABLE
        return KeyVerdict.ACCEPTED if saved else KeyVerdict.UNAVAILABLE

    def refetch(self) -> None:
        """Fetch everything as soon as possible."""
        self._refresher.refresh_all()

    async def _keep(self) -> None:
        await self._status.report(StreamState.INITIALIZING)
        works: dict[str, Callable[[], Awaitable[object]]] = {
            "fetching": self._refresher.run,
            "keys": self._keys.run,
            "polling": self._poll,
        }
        if self._pace.stream:
            works["stream"] = self._follower.run
        if self._pace.targets > 0:
            works["targets"] = self._targets.run
        async with asyncio.TaskGroup() as tasks:
            for service, work in works.items():
                tasks.create_task(self._keep_going(work, service))
            if self._pace.stream:
                tasks.create_task(self._fetch_without_stream())
            else:
                self._notices.info(
                    "Harness is polled, no stream is wanted", self._name, seconds=self._pace.poll
                )
                self._refresher.refresh_all()

    async def _keep_going(self, work: Callable[[], Awaitable[object]], service: str) -> NoReturn:
        # Each on its own: what one of them stumbles over must not keep the others from their work.
        await keep_going(
            work,
            service,
            subject=self._name,
            clock=self._rhythm.clock,
            random=self._rhythm.random,
            failures=self._failures,
        )

    async def probe(self, deadline: float) -> None:
        """Ask Harness something small; raises ``UpstreamError`` if there is no answer within ``deadline``."""
        await self._credentials.call(lambda session: self._api.probe(session, deadline))

    async def _fetched(self) -> None:
        error = self._refresher.trouble
        if not self._pace.stream:
            detail = str(error) if error is not None else f"polling every {self._pace.poll:g} seconds"
            refused = isinstance(error, UpstreamRefused)
            await self._status.report(StreamState.DISCONNECTED, detail, refused=refused, polled=error is None)
        else:
            await self._status.repeat()

    async def _fetch_without_stream(self) -> None:
        # A stream that cannot be had must not keep SDKs from their flags.
        await self._rhythm.sleep(self._pace.grace)
        if not self._refresher.begun:
            self._refresher.refresh_all()

    async def _poll(self) -> None:
        fetched = self._rhythm.clock.monotonic()
        while True:
            await self._rhythm.rest(self._pace.poll)
            await self._status.repeat()  # of keys that cannot be refreshed nobody else tells
            now = self._rhythm.clock.monotonic()
            if not self._follower.alive or now - fetched >= self._pace.resync:
                fetched = now
                self._refresher.refresh_all()
