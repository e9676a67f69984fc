"""A watcher of an offline directory, and what it writes to."""

import asyncio
import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from ff_proxy.errors import StoreUnavailable
from ff_proxy.model.environment import EnvironmentConfig, Revision
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.offline.watcher import OfflineWatcher
from ff_proxy.store.memory import MemoryConfigs, MemoryTargets
from ff_proxy.telemetry import Telemetry
from ff_proxy.telemetry.logs import make_logger
from tests.support.clock import FakeClock
from tests.support.offline import ENV_ID, FaultyFiles

GRACE = 30.0


class Configs(MemoryConfigs):
    """A store that can be out of reach."""

    fails = False

    async def replace(self, config: EnvironmentConfig) -> Revision:
        if self.fails:
            raise StoreUnavailable("no answer")
        return await super().replace(config)


async def no_notices(_: Path) -> AsyncIterator[object]:
    """A system that never says anything."""
    await asyncio.Event().wait()
    yield None


class Watched:
    """A watcher of a directory, and what it writes to."""

    def __init__(self, root: Path, notices: Callable[[Path], AsyncIterator[object]] = no_notices) -> None:
        self.root = root
        self.clock = FakeClock()
        self.files = FaultyFiles()
        self.lines = io.StringIO()
        self.telemetry = Telemetry(make_logger("INFO", self.lines), self.clock)
        self.configs = Configs("epoch", self.clock)
        self.targets = MemoryTargets(self.clock)
        self.watcher = OfflineWatcher(
            root,
            self.configs,
            self.targets,
            self.clock,
            self.telemetry,
            grace=GRACE,
            notices=notices,
            files=self.files,
        )

    async def version(self, environment: EnvironmentId = ENV_ID) -> int | None:
        """The version of a flag as the store has it, or ``None`` if the environment is not there."""
        config = await self.configs.environment(environment)
        return None if config is None else config.flags["glaze"].version

    def logged(self, level: str) -> list[str]:
        """What was logged at that level, about what, and forgotten here."""
        lines = [json.loads(line) for line in self.lines.getvalue().splitlines()]
        self.lines.truncate(0)
        self.lines.seek(0)
        return [
            f"{line['event']}: {line.get('problem') or line.get('subject') or line.get('error', '')}"
            for line in lines
            if line["level"] == level
        ]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Callable[[Callable[[], bool]], Awaitable[None]]]:
        """Run the watcher; hands out a way to wait for what its threads bring about."""
        task = asyncio.create_task(self.watcher.run())

        async def when(condition: Callable[[], bool]) -> None:
            while not condition():
                if task.done():
                    task.result()
                await asyncio.sleep(0.005)

        await when(self.watcher.ready.is_set)
        try:
            yield when
        finally:
            task.cancel()
            await asyncio.wait([task])
        assert task.cancelled()
