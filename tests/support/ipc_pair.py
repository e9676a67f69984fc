"""A sync process's store and one worker, over a socket."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from ff_proxy.ipc import (
    CountedTargets,
    IpcServer,
    IpcStore,
    SharedGenerations,
    State,
    WorkerServices,
)
from ff_proxy.model.keys import KeyVerdict, SdkKey, Secret
from ff_proxy.model.readiness import Readiness
from ff_proxy.runtime.clock import SystemClock
from ff_proxy.store.memory import MemoryStore
from ff_proxy.telemetry import null_telemetry
from tests.support.clock import FakeClock
from tests.support.configs import ENVIRONMENT


class Pair:
    """A store with its server, and one worker."""

    def __init__(self, directory: Path) -> None:
        self.socket = directory / "link"
        self.generations = SharedGenerations()
        self.clock = SystemClock()
        self.store = MemoryStore("life", FakeClock())
        self.targets = CountedTargets(self.store.targets, self.generations)
        self.worker = IpcStore(self.socket, self.generations, self.clock)
        self.asked: list[SdkKey] = []
        self.state = State(Readiness(pending=("not yet",)), frozenset([ENVIRONMENT]), frozenset())

    async def check(self, key: SdkKey) -> KeyVerdict:
        self.asked.append(key)
        return KeyVerdict.REFUSED

    async def secret(self) -> Secret:
        return Secret("signs")

    async def tell(self) -> State:
        return self.state

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """The sync process's end, for a while."""
        offer = WorkerServices(
            self.store.configs,
            self.targets,
            self.store.usage,
            self.store.registrations,
            self.check,
            self.secret,
            self.tell,
        )
        server = IpcServer(self.socket, offer, self.generations, self.clock, null_telemetry().failures)
        running = asyncio.create_task(server.run())
        await server.ready.wait()
        yield
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for another task's doing."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110  (what is awaited is on the other side of a socket)
            await asyncio.sleep(0.001)
