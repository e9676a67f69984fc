"""Following one environment's stream: connect, process changes, reconnect when it breaks or falls silent."""

from typing import Final

from ff_proxy.errors import UpstreamError, UpstreamRefused, UpstreamUnavailable
from ff_proxy.model.environment import StreamState
from ff_proxy.upstream.context import UpstreamContext
from ff_proxy.upstream.credentials import Credentials, Session
from ff_proxy.upstream.failure_text import advice
from ff_proxy.upstream.refresher import Refresher
from ff_proxy.upstream.sse import SseDecoder, SseRecord
from ff_proxy.upstream.status_reporter import StatusReporter
from ff_proxy.wire.events import UnusableEvent, read_event

# What the Go proxy calls the topic of all events from Harness.
_TOPIC: Final = "*"
# A stream open for this long counts as a success; a server that accepts and hangs up does not.
_SUCCESS_SECONDS: Final = 10.0


class Follower:
    """Follows one environment's stream: refreshes each announced item, and everything after connecting.

    The order matters: the stream is open before the full fetch begins, so no change is missed.
    """

    def __init__(
        self,
        context: UpstreamContext,
        credentials: Credentials,
        refresher: Refresher,
        status: StatusReporter,
    ) -> None:
        telemetry = context.telemetry
        self._credentials = credentials
        self._api = context.api
        self._refresher = refresher
        self._status = status
        self._intervals = context.intervals
        self._schedule = context.schedule
        self._backoff = context.schedule.backoff()
        self._log = telemetry.logger("upstream")
        self._events = telemetry.metrics.upstream_events
        self._messages = telemetry.metrics.upstream_messages
        self._subscriptions = telemetry.metrics.upstream_subscriptions
        self._once = telemetry.once("upstream")
        self._telemetry = telemetry
        self._alive = False
        self._opened = False
        self._failed = False
        self._silent = False
        self.last_activity = context.schedule.clock.monotonic()

    @property
    def alive(self) -> bool:
        """Whether the stream is open and has sent something, so that polling is unnecessary.

        A stream that opened but stays silent may be buffered by a middlebox.
        """
        return self._alive

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            started = self._schedule.clock.monotonic()
            self._silent = False
            error = await self._follow()
            if self._is_first_failure():
                # Polls are too far apart to find out soon whether Harness is reachable.
                self._refresher.refresh_all()
            refused = isinstance(error, UpstreamRefused)
            self._telemetry.trouble(error, "stream", self._credentials.environment.id)
            await self._status.report(StreamState.DISCONNECTED, str(error), refused=refused)
            lasted = self._schedule.clock.monotonic() - started
            if lasted >= _SUCCESS_SECONDS:
                self._backoff.reset()
            if self._silent and lasted >= self._intervals.idle:
                self._once.warning(
                    "stream opens but stays silent",
                    self._credentials.environment.id,
                    hint="something in between may buffer it; flag-stream-enabled=false polls",
                )
            if refused:
                await self._schedule.sleep_jittered(self._intervals.refused)
            else:
                await self._schedule.clock.sleep(self._backoff.next(error))

    def _is_first_failure(self) -> bool:
        """Whether this is the first failed connection since the last success."""
        first, self._failed = not self._opened and not self._failed, not self._opened
        self._opened = False
        return first

    async def _follow(self) -> UpstreamError:
        """Run one connection; returns why it ended. Refused means that Harness refused every key."""
        session = self._credentials.session
        try:
            await self._listen(session)
        except UpstreamRefused as refused:
            if not refused.rejects_credentials:
                return _retriable(refused)
            return await self._renew(session)
        except UpstreamError as error:
            return error
        finally:
            self._alive = False
        return UpstreamUnavailable("Harness ended the stream")

    async def _listen(self, session: Session) -> None:
        decoder = SseDecoder()
        self._subscriptions.labels(_TOPIC).inc()
        async with self._api.stream(session, self._intervals.idle) as chunks:
            self._opened = True
            self._telemetry.recovered("stream", self._credentials.environment.id)
            await self._status.report(StreamState.CONNECTED)
            self._refresher.refresh_all()
            self._silent = True
            async for chunk in chunks:
                self.last_activity = self._schedule.clock.monotonic()
                for record in decoder.feed(chunk):
                    self._handle(record)
                self._alive = decoder.life_signs > 0
                self._silent = not self._alive

    async def _renew(self, session: Session) -> UpstreamError:
        try:
            await self._credentials.renew(session)
        except UpstreamError as error:
            return error
        return UpstreamUnavailable("Harness refused the token, using a new one")

    def _handle(self, record: SseRecord) -> None:
        change = read_event(record.data)
        outcome = change.value if isinstance(change, UnusableEvent) else change.action.value
        self._events.labels(self._credentials.environment.id, outcome).inc()
        error = "err_parsing_message" if change is UnusableEvent.MALFORMED else "false"
        self._messages.labels(_TOPIC, error).inc()
        self._log.debug("event", environment=self._credentials.environment.id, data=record.data)
        if change is UnusableEvent.MALFORMED:
            # Something unknown may have changed.
            self._refresher.refresh_all()
        elif not isinstance(change, UnusableEvent):
            self._refresher.refresh(change)


def _retriable(refused: UpstreamRefused) -> UpstreamUnavailable:
    """A refusal of the stream, not of the token: a retry may succeed."""
    hint = advice(refused, "sdk-base-url")
    error = UpstreamUnavailable(f"{refused}: {hint}" if hint else str(refused))
    error.shared_cause = f"{refused.shared_cause}: {hint}" if hint else refused.shared_cause
    return error
