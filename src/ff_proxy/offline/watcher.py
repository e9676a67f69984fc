"""Serving from an offline directory: what is in it goes into the store, and so does what changes."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Final

import watchfiles

from ff_proxy.errors import OfflineDataError, StoreError
from ff_proxy.model.clock import Clock
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.target import Target
from ff_proxy.offline.directory import DirectoryReading, read_directory
from ff_proxy.offline.format import OfflineEnvironment, Reading
from ff_proxy.offline.layout import Location
from ff_proxy.offline.problems import Problem, Severity
from ff_proxy.store.protocol import ConfigWriter, TargetStore
from ff_proxy.telemetry import Telemetry

_DEBOUNCE_MS: Final = 200
_STEP_MS: Final = 50
_MISSING_SECONDS: Final = 1.0
_SHOWN: Final = 20
_UNREADABLE: Final = "offline directory cannot be read, the last good state stays in force"
_EMPTY: Final = "offline directory is empty, the last good state stays in force"
_STORE: Final = "store does not take what is in the offline directory"
_UNWATCHED: Final = "offline directory cannot be watched, looking at it from time to time"

Notices = Callable[[Path], AsyncIterator[object]]
"""Yields something whenever something below a directory changed."""


def system_notices(root: Path) -> AsyncIterator[object]:
    """The operating system's notices of changes below ``root``."""
    return watchfiles.awatch(root, watch_filter=None, debounce=_DEBOUNCE_MS, step=_STEP_MS)


class OfflineWatcher:
    """Keeps the store equal to a directory.

    Notices of the system say when to look; a timer does as well, for Kubernetes' ConfigMaps, network
    file systems and whatever else gives no notice. What is broken is told once, with its place, and what
    was last read stays in force until it is mended. An environment is removed when its directory has been
    gone for a second, so that replacing one by hand does not end streams, and unless all of them are gone:
    that is a volume that was taken away, not a wish.

    Args:
        root: the directory.
        configs: where environments go.
        targets: where targets go.
        clock: time.
        telemetry: told of problems.
        interval: seconds between two looks without a notice.
        notices: where notices come from.
    """

    name = "offline directory"

    def __init__(
        self,
        root: Path,
        configs: ConfigWriter,
        targets: TargetStore,
        clock: Clock,
        telemetry: Telemetry,
        *,
        interval: float = 10.0,
        notices: Notices = system_notices,
    ) -> None:
        self.ready = asyncio.Event()
        self._root = root
        self._configs = configs
        self._targets = targets
        self._clock = clock
        self._log = telemetry.logger("offline")
        self._once = telemetry.once("offline")
        self._rejected = telemetry.metrics.items_rejected
        self._interval = interval
        self._notices = notices
        self._looked_at: dict[EnvironmentId, Location] = {}
        self._in_force: dict[EnvironmentId, OfflineEnvironment] = {}
        self._missing: dict[EnvironmentId, float] = {}
        self._resumed: set[EnvironmentId] = set()
        self._lost = asyncio.Event()
        self._wanted = asyncio.Event()

    async def load(self) -> None:
        """The first look; after it the store holds what the directory holds.

        Raises ``OfflineDataError`` if the directory or any file in it cannot be used, naming the first
        and how many more there are, and ``StoreError`` if the store cannot take it.
        """
        reading = await asyncio.to_thread(read_directory, self._root)
        broken = [problem for problem in _problems(reading) if problem.severity is Severity.BROKEN]
        if broken:
            for problem in broken:
                self._log.error("offline file cannot be used", problem=str(problem))
            first = broken[0]
            more = f" (and {len(broken) - 1} more problems like this)" if broken[1:] else ""
            raise OfflineDataError(first.path, first.text + more, place=first.place or None)
        if not reading.locations:
            self._log.warning(
                "no directory env-<environment id> in the config directory", path=str(self._root)
            )
        await self._apply(reading)
        self.ready.set()

    def resume(self, held: Collection[EnvironmentId]) -> None:
        """Go on where a predecessor ended, instead of ``load``: the stores hold what it put there.

        What it had read stays in force until the directory can be read, and what SDKs have said of targets
        stays as well.
        """
        self._resumed = set(held)
        self.ready.set()

    async def run(self) -> None:
        """Load, unless that was done, and follow the directory until cancelled."""
        if not self.ready.is_set():
            await self.load()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._listen())
            group.create_task(self._tick())
            group.create_task(self._look_again())
            while True:
                await self._wanted.wait()
                self._wanted.clear()
                await self.look()

    async def look(self) -> None:
        """Read what changed since the last look and bring it into force; errors are logged, not raised."""
        try:
            known = dict(self._looked_at)
            reading = await asyncio.to_thread(read_directory, self._root, known)
        except OfflineDataError as error:
            self._once.warning(_UNREADABLE, error=str(error))
            return
        if self._once.forget(_UNREADABLE):
            self._log.info("offline directory can be read again")
        try:
            await self._apply(reading)
        except StoreError as error:
            self._once.warning(_STORE, error=str(error))
        else:
            self._once.forget(_STORE)

    async def _apply(self, reading: DirectoryReading) -> None:
        for problem in reading.problems:
            self._once.warning("offline directory has a problem", str(problem))
        for one in reading.readings:
            await self._take(one)
        there = {location.environment for location in reading.locations} | reading.disputed
        known = self._looked_at.keys() | self._resumed
        await self._miss(known - there, everything=not there)

    async def _miss(self, gone: AbstractSet[EnvironmentId], *, everything: bool) -> None:
        now = self._clock.monotonic()
        self._missing = {environment: self._missing.get(environment, now) for environment in gone}
        if everything and gone:
            self._once.warning(_EMPTY)
            return
        for environment, since in list(self._missing.items()):
            if now - since >= _MISSING_SECONDS:
                await self._remove(environment)
        if self._missing:
            self._lost.set()

    async def _take(self, reading: Reading) -> None:
        environment = reading.location.environment
        self._report(environment, reading.problems)
        if reading.environment is not None:
            await self._configs.replace(reading.environment.config)
            known = self._in_force.get(environment)
            news = _new_targets(known, reading.environment)
            if environment in self._resumed:
                news = [one for one in news if await self._targets.get(environment, one.identifier) is None]
                self._resumed.discard(environment)
            if news:
                await self._targets.put_many(environment, news)
            self._in_force[environment] = reading.environment
            self._log.info(
                "offline environment loaded" if known is None else "offline environment reloaded",
                environment=environment,
                flags=len(reading.environment.config.flags),
                segments=len(reading.environment.config.segments),
                targets=len(reading.environment.targets),
            )
        self._looked_at[environment] = reading.location

    async def _remove(self, environment: EnvironmentId) -> None:
        await self._configs.remove(environment)
        self._resumed.discard(environment)
        self._in_force.pop(environment, None)
        self._looked_at.pop(environment, None)
        del self._missing[environment]
        self._log.info("offline environment removed", environment=environment)

    def _report(self, environment: EnvironmentId, problems: tuple[Problem, ...]) -> None:
        for problem in problems[:_SHOWN]:
            if problem.severity is Severity.BROKEN:
                self._log.error(
                    "offline file cannot be used, the last good state stays", problem=str(problem)
                )
            else:
                self._log.warning("offline file has a problem", problem=str(problem))
        if problems[_SHOWN:]:
            self._log.warning(
                "offline files have more problems", environment=environment, more=len(problems) - _SHOWN
            )
        rejected = sum(problem.severity is Severity.ERROR for problem in problems)
        if rejected:
            self._rejected.labels(environment).inc(rejected)

    async def _listen(self) -> None:
        while True:
            self._wanted.set()
            try:
                async for _ in self._notices(self._root):
                    self._wanted.set()
            except Exception as error:  # noqa: BLE001  (a library's own base class is not a promise)
                self._once.warning(_UNWATCHED, error=str(error))
            await self._clock.sleep(self._interval)

    async def _tick(self) -> None:
        while True:
            await self._clock.sleep(self._interval)
            self._wanted.set()

    async def _look_again(self) -> None:
        while True:
            await self._lost.wait()
            self._lost.clear()
            await self._clock.sleep(_MISSING_SECONDS)
            self._wanted.set()


def _problems(reading: DirectoryReading) -> list[Problem]:
    return [*reading.problems, *(problem for one in reading.readings for problem in one.problems)]


def _new_targets(before: OfflineEnvironment | None, now: OfflineEnvironment) -> list[Target]:
    """Targets whose description is new: what SDKs said of the others in the meantime stays."""
    known = {target.identifier: target for target in before.targets} if before is not None else {}
    return [target for target in now.targets if known.get(target.identifier) != target]
