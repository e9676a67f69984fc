"""Sampled metrics: callbacks that set them once a second."""

import asyncio
from collections.abc import Callable
from typing import Final

from ff_proxy.model.clock import Clock
from ff_proxy.telemetry.failures import Failures

_SECONDS: Final = 1.0


class Sampler:
    """The service that calls every sample once a second; a failing one does not stop the others."""

    name = "metrics samples"

    def __init__(self, clock: Clock, failures: Failures) -> None:
        self.ready = asyncio.Event()
        self._clock = clock
        self._failures = failures
        self._samples: list[Callable[[], object]] = []

    def add(self, sample: Callable[[], object]) -> None:
        """Add ``sample``, which sets metrics and must be fast."""
        self._samples.append(sample)

    async def run(self) -> None:
        """Sample until cancelled."""
        self.ready.set()
        while True:
            self.poll()
            await self._clock.sleep(_SECONDS)

    def poll(self) -> None:
        """Sample once."""
        for sample in self._samples:
            try:
                sample()
            except Exception as error:  # noqa: BLE001  (whatever it is, the others are looked at)
                self._failures.contained(self.name, error)
