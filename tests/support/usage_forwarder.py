"""A forwarder between a queue and a Harness that tests steer."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random

from ff_proxy.errors import UpstreamError
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.usage import UsageCount, UsageKey
from ff_proxy.store.memory.queues import MemoryUsageQueue
from ff_proxy.telemetry import null_telemetry
from ff_proxy.usage.forwarder import UsageForwarder
from tests.support.clock import FakeClock

ENV = EnvironmentId("5b3ae4f2-46a4-4e0a-a2f6-24d8ff2f3a11")


OTHER = EnvironmentId("b1dc1c9f-5a3f-41d7-8a4e-0c8e2f9e3b22")


Answer = Callable[[EnvironmentId, bytes], UpstreamError | None]


class Saas:
    """Takes bodies, or answers with an error; remembers the counts it took, by flag."""

    def __init__(self, answer: Answer = lambda _, __: None) -> None:
        self.answer = answer
        self.taken: dict[tuple[EnvironmentId, str], int] = {}
        self.targets: list[str] = []
        self.bodies: list[bytes] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def send(self, environment: EnvironmentId, body: bytes) -> None:
        await self.gate.wait()
        error = self.answer(environment, body)
        if error is not None:
            raise error
        self.bodies.append(body)
        doc = json.loads(body)
        for entry in doc["metricsData"]:
            flag = entry["attributes"][0]["value"]
            self.taken[environment, flag] = self.taken.get((environment, flag), 0) + entry["count"]
        self.targets += [target["identifier"] for target in doc["targetData"]]


class Setting:
    """A forwarder between a queue and a SaaS."""

    def __init__(self, saas: Saas) -> None:
        self.clock = FakeClock()
        self.queue = MemoryUsageQueue(1_000_000_000)
        self.saas = saas
        self.telemetry = null_telemetry()
        self.forwarder = UsageForwarder(self.queue, saas, 60.0, self.clock, Random(1), self.telemetry)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """With the service running."""
        task = asyncio.create_task(self.forwarder.run())
        yield
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def usage(flag: str, count: int = 1, *, environment: EnvironmentId = ENV, padding: str = "") -> UsageCount:
    """Evaluations of one flag."""
    attributes = (("featureIdentifier", json.dumps(flag)), ("padding", json.dumps(padding)))
    return UsageCount(UsageKey(environment, "FFMETRICS", attributes), count, 1_700_000_000_000)
