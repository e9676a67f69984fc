"""Synchronising one environment with Harness: by its stream or, while that is down, by polling."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, NoReturn

from ff_proxy.aio.keep_going import keep_going
from ff_proxy.errors import StoreUnavailable, UpstreamRefused
from ff_proxy.model.environment import EnvironmentConfig, StreamState
from ff_proxy.model.keys import KeyVerdict, SdkKeyHash
from ff_proxy.upstream.context import UpstreamContext
from ff_proxy.upstream.credentials import Credentials
from ff_proxy.upstream.listings import KeyRefresh, TargetPoll
from ff_proxy.upstream.refresher import Refresher
from ff_proxy.upstream.response_tracker import ResponseTracker
from ff_proxy.upstream.status_reporter import StatusReporter
from ff_proxy.upstream.stream_follower import Follower
from ff_proxy.upstream.writer import EnvironmentWriter, KeyRing


class Environment:
    """Synchronises one environment's flags, segments, keys and targets.

    Args:
        context: the APIs and the store.
        credentials: its keys and token.
        stored: what the store already has of it.
    """

    def __init__(
        self, context: UpstreamContext, credentials: Credentials, stored: EnvironmentConfig | None
    ) -> None:
        configured = {key.hash for key in credentials.accepted}
        known = stored.keys if stored is not None else frozenset()
        clock, telemetry = context.schedule.clock, context.telemetry
        self._context = context
        self._credentials = credentials
        self._name = credentials.environment.id
        self._writer = EnvironmentWriter(
            context.configs, self._name, KeyRing(known | configured), clock, loaded=stored is not None
        )
        self._intervals = context.intervals
        self._schedule = context.schedule
        self.response_tracker: Final = ResponseTracker(clock)
        self._status = StatusReporter(self._name, context.configs, clock, telemetry, lambda: self.problem)
        self._refresher = Refresher(context, credentials, self._writer, self.response_tracker, self._fetched)
        self._follower = Follower(context, credentials, self._refresher, self._status)
        self._keys = KeyRefresh(context, credentials, self._writer, self._refresher.refresh_all)
        self._targets = TargetPoll(context, credentials)

    @property
    def loaded(self) -> bool:
        """Whether the store has the environment."""
        return self._writer.loaded

    @property
    def last_activity(self) -> float:
        """When the stream last sent anything, in monotonic seconds."""
        return self._follower.last_activity

    @property
    def keys_age(self) -> float:
        """Seconds since Harness listed the keys."""
        return self._keys.age

    @property
    def refused(self) -> bool:
        """Whether Harness definitely refuses the environment."""
        return isinstance(self._refresher.last_error, UpstreamRefused)

    @property
    def problem(self) -> str:
        """The current problems, for people; empty if none."""
        fetch, status = self._refresher.last_error, self._status.current
        stream = self._intervals.stream and status.state is StreamState.DISCONNECTED
        reasons = [
            f"not up to date: {fetch}" if fetch is not None else "",
            *self._refresher.unconfirmed,
            f"stream down: {status.detail}" if stream else "",
            f"keys not refreshed: {self._keys.problem}" if self._keys.problem else "",
        ]
        return "; ".join(filter(None, reasons))

    async def run(self) -> None:
        """Synchronise the environment until cancelled."""
        try:
            await self._run_all()
        finally:
            self._status.end()

    async def accept(self, key: SdkKeyHash) -> KeyVerdict:
        """Add a key that Harness accepts; it is valid once this returns ``ACCEPTED``."""
        self._writer.ring.accept(key)
        try:
            stored_keys = self._writer.loaded and await self._writer.save_keys()
        except StoreUnavailable:
            return KeyVerdict.UNAVAILABLE
        return KeyVerdict.ACCEPTED if stored_keys else KeyVerdict.UNAVAILABLE

    def refetch(self) -> None:
        """Request a fetch of everything."""
        self._refresher.refresh_all()

    async def _run_all(self) -> None:
        await self._status.report(StreamState.INITIALIZING)
        coroutines: dict[str, Callable[[], Awaitable[object]]] = {
            "fetching": self._refresher.run,
            "keys": self._keys.run,
            "polling": self._poll,
        }
        if self._intervals.stream:
            coroutines["stream"] = self._follower.run
        if self._intervals.targets > 0:
            coroutines["targets"] = self._targets.run
        async with asyncio.TaskGroup() as tasks:
            for service, work in coroutines.items():
                tasks.create_task(self._keep_going(work, service))
            if self._intervals.stream:
                tasks.create_task(self._fetch_without_stream())
            else:
                self._context.telemetry.notices("upstream").info(
                    "polling Harness, streaming is turned off", self._name, seconds=self._intervals.poll
                )
                self._refresher.refresh_all()

    async def _keep_going(self, work: Callable[[], Awaitable[object]], service: str) -> NoReturn:
        # Each runs independently: a failure of one must not stop the others.
        await keep_going(
            work,
            service,
            subject=self._name,
            clock=self._schedule.clock,
            random=self._schedule.random,
            failures=self._context.telemetry.failures,
        )

    async def probe(self, deadline: float) -> None:
        """Send Harness a small request; raises ``UpstreamError`` without a response within ``deadline``."""
        await self._credentials.call(lambda session: self._context.api.probe(session, deadline))

    async def _fetched(self) -> None:
        error = self._refresher.last_error
        if not self._intervals.stream:
            detail = str(error) if error is not None else f"polling every {self._intervals.poll:g} seconds"
            refused = isinstance(error, UpstreamRefused)
            await self._status.report(StreamState.DISCONNECTED, detail, refused=refused, polled=error is None)
        else:
            await self._status.repeat()

    async def _fetch_without_stream(self) -> None:
        # SDKs must get their flags even if no stream opens.
        await self._schedule.clock.sleep(self._intervals.grace)
        if not self._refresher.started:
            self._refresher.refresh_all()

    async def _poll(self) -> None:
        fetched = self._schedule.clock.monotonic()
        while True:
            await self._schedule.sleep_jittered(self._intervals.poll)
            await self._status.repeat()  # nothing else reports keys that cannot be refreshed
            now = self._schedule.clock.monotonic()
            if not self._follower.alive or now - fetched >= self._intervals.resync:
                fetched = now
                self._refresher.refresh_all()
