"""Export to an OpenTelemetry collector, if its variables are set."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from ff_proxy.api.ports import SpanSink
from ff_proxy.app.process import ProcessContext
from ff_proxy.otlp.settings import OtlpSettings, read_settings
from ff_proxy.runtime.services import Phase, Service
from ff_proxy.telemetry import OnceLog

_NOT_INSTALLED: Final = (
    "OpenTelemetry's variables are set, but its SDK is not installed: "
    "pip install 'ff-proxy[otel]'; nothing is sent"
)
# At shutdown; losing the last spans is acceptable.
_FINISH_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Otlp:
    """The exporters of one process; none by default."""

    spans: SpanSink | None = None
    services: Sequence[Service] = ()
    phases: Sequence[Phase] = ()


def make_otlp(context: ProcessContext, process: str, *, serves: bool, speaks_for_all: bool) -> Otlp:
    """The exporters of ``process``: spans if it serves SDKs, metrics if it reports for the whole proxy.

    Failures are only logged; they do not affect serving.
    """
    settings = read_settings(context.environ)
    log = context.telemetry.logger("otlp")
    if speaks_for_all:
        for text in settings.ignored:
            log.warning(text)
    if not ((settings.traces and serves) or (settings.metrics and speaks_for_all)):
        return Otlp()
    _forward_lines(context.telemetry.once("otlp"))
    try:
        return _made(settings, context, process, serves=serves, speaks_for_all=speaks_for_all)
    except ImportError:
        log.warning(_NOT_INSTALLED)
    except Exception as error:  # noqa: BLE001  (a library that reads variables of its own may refuse them)
        log.warning("OpenTelemetry cannot be used, nothing is sent", error=str(error))
    return Otlp()


def _made(
    settings: OtlpSettings, context: ProcessContext, process: str, *, serves: bool, speaks_for_all: bool
) -> Otlp:
    from ff_proxy.otlp.resource import resource  # noqa: PLC0415  (an extra)

    sender = resource(process)
    spans = None
    services: list[Service] = []
    last: list[Callable[[], Awaitable[object]]] = []
    if settings.metrics and speaks_for_all:
        from ff_proxy.otlp.metrics import OtlpMetrics  # noqa: PLC0415  (see above)

        telemetry = context.telemetry
        metrics = OtlpMetrics(
            telemetry.collect, sender, settings.interval, context.clock, telemetry.once("otlp")
        )
        services.append(metrics)
        last.append(metrics.send)
    if settings.traces and serves:
        from ff_proxy.otlp.spans import Spans  # noqa: PLC0415  (see above)

        spans = own = Spans(sender)
        last.append(own.finish)

    async def finish(_: float) -> None:
        await asyncio.gather(*(one() for one in last))

    return Otlp(spans, services, [Phase("otlp", _FINISH_SECONDS, finish)])


def _forward_lines(once: OnceLog) -> None:
    """Forward the SDK's warnings to our log, each of them once."""
    logger = logging.getLogger("opentelemetry")
    logger.propagate = False
    logger.handlers = [_Forward(once)]


class _Forward(logging.Handler):
    def __init__(self, once: OnceLog) -> None:
        super().__init__(logging.WARNING)
        self._once = once

    def emit(self, record: logging.LogRecord) -> None:
        """Write its text, without any trace."""
        self._once.warning("OpenTelemetry has trouble", record.name, text=record.getMessage())
