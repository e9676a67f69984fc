"""Detects early that Harness is unreachable, even if no stream has broken."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from ff_proxy.aio.limiter import PatientLimiter
from ff_proxy.errors import UpstreamError, UpstreamRefused
from ff_proxy.model.backoff import requested_wait
from ff_proxy.telemetry import Telemetry
from ff_proxy.upstream.context import Schedule
from ff_proxy.upstream.environment import Environment

# Probe Harness after this much silence, and this often while it lasts.
_SILENCE_SECONDS: Final = 4.0
_PROBE_INTERVAL: Final = 2.0
_PROBE_SECONDS: Final = 4.0
_PROBING: Final = 16
_PROBE: Final = "probe"


class SilenceProbe:
    """Probes Harness while it is silent; useful if other processes could take over.

    Args:
        environments: returns the environments that this process synchronises.
        telemetry: logs failed probes.
        schedule: time and randomness.
    """

    def __init__(
        self, environments: Callable[[], Sequence[Environment]], telemetry: Telemetry, schedule: Schedule
    ) -> None:
        self._environments = environments
        self._telemetry = telemetry
        self._schedule = schedule
        self._places = PatientLimiter(_PROBING, schedule.clock)

    async def run(self) -> None:
        """Probe until cancelled."""
        last_response = self._schedule.clock.monotonic()
        pause = _SILENCE_SECONDS
        while True:
            await self._schedule.clock.sleep(pause)
            environments = self._environments()
            last_activity = max(
                (environment.last_activity for environment in environments), default=last_response
            )
            pause = _PROBE_INTERVAL
            if not environments:
                continue
            now, due = self._schedule.clock.monotonic(), max(last_activity, last_response) + _SILENCE_SECONDS
            if now < due:
                # No longer than needed: detection and takeover must fit into the guaranteed time.
                pause = due - now
                self._telemetry.recovered(_PROBE)
                continue
            for environment in environments:
                environment.response_tracker.request_sent(_PROBE)
            found = await self._probe_some(environments)
            # As long as Harness asks to wait, everybody would be answered the same.
            pause = max(pause, *map(requested_wait, found.values()))
            if all(error is None for error in found.values()):
                last_response = self._schedule.clock.monotonic()
            for environment, error in found.items():
                if error is None:
                    environment.response_tracker.response_received(_PROBE)

    def withdraw(self) -> None:
        """Forget failed probes: other processes synchronise every environment now."""
        self._telemetry.harness.withdraw(doing=_PROBE)

    async def _probe_some(
        self, environments: Sequence[Environment]
    ) -> Mapping[Environment, UpstreamError | None]:
        """Probe one environment, and after a refusal the others too.

        A refusal may concern only one environment's key, or come from a gateway in between.
        """
        first = self._schedule.random.choice(environments)
        error = await self._probe_one(first)
        if not isinstance(error, UpstreamRefused):
            return dict.fromkeys(environments, error)
        others = [environment for environment in environments if environment is not first]
        errors = await asyncio.gather(*map(self._probe_one, others))
        return {first: error, **dict(zip(others, errors, strict=True))}

    async def _probe_one(self, environment: Environment) -> UpstreamError | None:
        """Why Harness cannot be used for the environment; ``None`` if it can."""
        refusal: UpstreamRefused | None = None
        try:
            async with self._places.place():
                await environment.probe(_PROBE_SECONDS)
        except UpstreamRefused as refused:
            # A missing path would be missing for every other process too.
            refusal = refused if refused.rejects_credentials else None
        except UpstreamError as error:
            self._telemetry.trouble(error, _PROBE)
            return error
        self._telemetry.recovered(_PROBE)
        return refusal
