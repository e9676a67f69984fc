"""Records requests as trace spans."""

from typing import Final, final

from ff_proxy.api.ports import SpanSink
from ff_proxy.api.request_metrics import UNCOUNTED
from ff_proxy.http.observer import Answered, Observer
from ff_proxy.model.clock import Clock

_LONGEST: Final = 200
_FAILED_FROM: Final = 500


@final
class RequestTraces:
    """An ``Observer`` that records a span for each request and forwards to ``other``."""

    logs = True
    logs_errors = True

    def __init__(self, other: Observer, spans: SpanSink, clock: Clock) -> None:
        self._other = other
        self._spans = spans
        self._clock = clock
        self.tally = other.tally
        self.body_bytes = other.body_bytes
        self.tick = other.tick

    def answered(self, answered: Answered, data: bytes = b"") -> None:
        """See ``Observer``; health and metrics requests have no spans."""
        del data  # it never recurs: see ``repeated``
        self._other.answered(answered)
        match = answered.match
        if match is not None and match.label in UNCOUNTED:
            return
        route = "other" if match is None else match.label
        attributes: dict[str, str | int] = {
            "http.request.method": answered.method,
            "http.route": route,
            "http.response.status_code": answered.status,
            "client.address": answered.peer,
        }
        if environment := (match.params.get("env") if match is not None else "") or answered.label:
            attributes["ff_proxy.environment"] = environment
        if answered.sdk is not None:
            attributes["ff_proxy.sdk"] = _text(answered.sdk)
        if answered.request_id is not None:
            attributes["ff_proxy.request_id"] = _text(answered.request_id)
        if answered.cause:
            attributes["error.type"] = answered.cause
        self._spans.record(
            f"{answered.method} {route}",
            self._clock.wall(),
            answered.seconds,
            attributes,
            traceparent=_text(answered.traceparent or b""),
            failed=answered.status >= _FAILED_FROM,
        )

    def repeated(self, data: bytes, peer: str, seconds: float) -> bool:
        """See ``Observer``; every request gets a span."""
        del data, peer, seconds
        return False


def _text(sent: bytes) -> str:
    return sent[:_LONGEST].decode("latin-1")
