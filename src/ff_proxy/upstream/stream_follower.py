"""Following one environment's stream: connect, hear what changed, come back when it breaks or is silent."""

from typing import Final

from ff_proxy.errors import UpstreamError, UpstreamRefused, UpstreamUnavailable
from ff_proxy.model.environment import StreamState
from ff_proxy.telemetry import Telemetry
from ff_proxy.telemetry.go_names import UPSTREAM_TOPIC
from ff_proxy.upstream.client import ClientApi
from ff_proxy.upstream.credentials import Credentials, Session
from ff_proxy.upstream.failure_text import advice
from ff_proxy.upstream.intervals import Intervals, Schedule
from ff_proxy.upstream.refresher import Refresher
from ff_proxy.upstream.sse import SseDecoder, SseRecord
from ff_proxy.upstream.status_reporter import StatusReporter
from ff_proxy.wire.events import UnusableEvent, read_event

# A stream that lived this long counts as a success; a server that accepts and hangs up does not.
_LASTING: Final = 10.0
_UNAUTHORISED: Final = frozenset({401, 403})


class Follower:
    """One environment's stream. It hands each change to ``refresher``, and a whole refresh per connection.

    The order matters: the stream is open before the whole fetch begins, so nothing falls in between.
    """

    def __init__(
        self,
        *,
        credentials: Credentials,
        api: ClientApi,
        refresher: Refresher,
        status: StatusReporter,
        pace: Intervals,
        telemetry: Telemetry,
        rhythm: Schedule,
    ) -> None:
        self._credentials = credentials
        self._api = api
        self._refresher = refresher
        self._status = status
        self._pace = pace
        self._rhythm = rhythm
        self._backoff = rhythm.backoff()
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
        self.heard_at = rhythm.clock.monotonic()

    @property
    def alive(self) -> bool:
        """The stream is open and has spoken: no need to poll.

        One that opened but never spoke may be held back by something between SaaS and us.
        """
        return self._alive

    async def run(self) -> None:
        """Follow for ever."""
        while True:
            began = self._rhythm.clock.monotonic()
            self._silent = False
            error = await self._follow()
            if self._failed_after_opening():
                # Whether Harness can be reached at all has to be known soon, and polls are far apart.
                self._refresher.refresh_all()
            refused = isinstance(error, UpstreamRefused)
            self._telemetry.trouble(error, "stream", self._credentials.environment.id)
            await self._status.report(StreamState.DISCONNECTED, str(error), refused=refused)
            lasted = self._rhythm.clock.monotonic() - began
            if lasted >= _LASTING:
                self._backoff.reset()
            if self._silent and lasted >= self._pace.idle:
                self._once.warning(
                    "stream opens but stays silent",
                    self._credentials.environment.id,
                    hint="something between SaaS and here may hold it back; flag-stream-enabled=false polls",
                )
            if refused:
                await self._rhythm.rest(self._pace.refused)
            else:
                await self._rhythm.sleep(self._backoff.next(error))

    def _failed_after_opening(self) -> bool:
        """Whether this was the first connection to fail since the last one that opened."""
        first, self._failed = not self._opened and not self._failed, not self._opened
        self._opened = False
        return first

    async def _follow(self) -> UpstreamError:
        """One connection; returns why it ended. Refused means: by SaaS, and with every key."""
        session = self._credentials.session
        try:
            await self._listen(session)
        except UpstreamRefused as refused:
            if refused.status not in _UNAUTHORISED:
                return _not_final(refused)
            return await self._renew(session)
        except UpstreamError as error:
            return error
        finally:
            self._alive = False
        return UpstreamUnavailable("SaaS ended the stream")

    async def _listen(self, session: Session) -> None:
        decoder = SseDecoder()
        self._subscriptions.labels(UPSTREAM_TOPIC).inc()
        async with self._api.stream(session, self._pace.idle) as chunks:
            self._opened = True
            self._telemetry.recovered("stream", self._credentials.environment.id)
            await self._status.report(StreamState.CONNECTED)
            self._refresher.refresh_all()
            self._silent = True
            async for chunk in chunks:
                self.heard_at = self._rhythm.clock.monotonic()
                for record in decoder.feed(chunk):
                    self._hear(record)
                self._alive = decoder.life_signs > 0
                self._silent = not self._alive

    async def _renew(self, session: Session) -> UpstreamError:
        try:
            await self._credentials.renew(session)
        except UpstreamError as error:
            return error
        return UpstreamUnavailable("SaaS no longer took the token: a new one is in use")

    def _hear(self, record: SseRecord) -> None:
        change = read_event(record.data)
        outcome = change.value if isinstance(change, UnusableEvent) else change.action.value
        self._events.labels(self._credentials.environment.id, outcome).inc()
        error = "err_parsing_message" if change is UnusableEvent.MALFORMED else "false"
        self._messages.labels(UPSTREAM_TOPIC, error).inc()
        self._log.debug("event", environment=self._credentials.environment.id, data=record.data)
        if change is UnusableEvent.MALFORMED:
            # Something may have changed that we do not know of.
            self._refresher.refresh_all()
        elif not isinstance(change, UnusableEvent):
            self._refresher.refresh(change)


def _not_final(refused: UpstreamRefused) -> UpstreamUnavailable:
    """A refusal of the stream that is not about the token: it may be there later."""
    hint = advice(refused, "sdk-base-url")
    ours = UpstreamUnavailable(f"{refused}: {hint}" if hint else str(refused))
    ours.shared_cause = f"{refused.shared_cause}: {hint}" if hint else refused.shared_cause
    return ours
