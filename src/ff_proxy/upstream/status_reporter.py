"""Reporting an environment's upstream status: status store, metrics, log."""

from collections.abc import Callable
from typing import Final

import msgspec

from ff_proxy.errors import StoreUnavailable
from ff_proxy.model.clock import Clock, milliseconds
from ff_proxy.model.environment import StreamState, UpstreamStatus
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.store.protocol import StatusStore
from ff_proxy.telemetry import Telemetry

# After the writer has gone, the stored status tells the age of the data to within this time.
_CONFIRM_MILLISECONDS: Final = 30_000


class StatusReporter:
    """Reports one environment's status, when it changes and again after a store failure.

    ``current`` is the last reported status.

    ``problem`` describes all problems of the environment, including a stream that is down; it returns an
    empty string if there are none.
    """

    def __init__(
        self,
        environment: EnvironmentId,
        store: StatusStore,
        clock: Clock,
        telemetry: Telemetry,
        problem: Callable[[], str],
    ) -> None:
        self._environment = environment
        self._store = store
        self._clock = clock
        self._log = telemetry.logger("upstream")
        self._notices = telemetry.notices("upstream")
        self._telemetry = telemetry
        self._gauge = telemetry.metrics.upstream_connected.labels(environment)
        self.current = UpstreamStatus(since=self._now())
        self._saved = False
        self._problem = problem

    async def report(
        self, state: StreamState, detail: str = "", *, refused: bool = False, polled: bool = False
    ) -> None:
        """Report the stream's ``state``; ``since`` changes only with the state.

        ``polled`` says that everything was fetched a moment ago, without a stream.
        """
        old = self.current
        since = old.since if state is old.state else self._now()
        confirmed = self._now() if polled else old.confirmed
        self.current = UpstreamStatus(state, since, refused, detail, confirmed=confirmed)
        self._gauge.set(state is StreamState.CONNECTED)
        if state is not old.state or refused is not old.refused:
            self._log_state(state, detail)
        await self._save(old)

    def _log_state(self, state: StreamState, detail: str) -> None:
        if state is StreamState.CONNECTED:
            self._notices.info("upstream connected", self._environment)
        else:
            # The stream follower logs why a stream is lost, and streaming may be off.
            self._log.debug(f"upstream {state.value.lower()}", environment=self._environment, detail=detail)

    def end(self) -> None:
        """This process no longer synchronises the environment."""
        self._gauge.set(False)

    async def repeat(self) -> None:
        """Report problems other than the stream's."""
        await self._save(self.current)

    async def _save(self, old: UpstreamStatus) -> None:
        current = msgspec.structs.replace(self.current, trouble=self._problem())
        self.current = msgspec.structs.replace(current, confirmed=self._confirmed(old, current))
        if self._saved and self.current == old:
            return
        try:
            await self._store.set_status(self._environment, self.current)
        except StoreUnavailable as error:
            self._saved = False
            self._telemetry.trouble(error, "status", self._environment)
        else:
            self._saved = True
            self._telemetry.recovered("status", self._environment)

    def _confirmed(self, old: UpstreamStatus, current: UpstreamStatus) -> int:
        """The new time of confirmation: renewed only every so often while in step, and when that ends."""
        ended = old.in_step and not current.in_step
        stale = self._now() - current.confirmed >= _CONFIRM_MILLISECONDS
        return self._now() if ended or (current.in_step and stale) else current.confirmed

    def _now(self) -> int:
        return milliseconds(self._clock)
