"""Serving from an offline directory: loading it into the store, and following its changes."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import watchfiles

from ff_proxy.aio.waits import sleep_unless
from ff_proxy.errors import OfflineDataError, StoreError
from ff_proxy.model.clock import Clock
from ff_proxy.model.environment import EnvironmentConfig
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.target import Target
from ff_proxy.offline.directory import DirectoryReading, read_directory
from ff_proxy.offline.files import Files
from ff_proxy.offline.format import OfflineEnvironment
from ff_proxy.offline.problems import Problem, Severity
from ff_proxy.offline.retention import Retention
from ff_proxy.store.protocol import ConfigWriter, TargetStore
from ff_proxy.telemetry import Telemetry

_DEBOUNCE_MS: Final = 200
_STEP_MS: Final = 50
_MAX_LISTED: Final = 20
_TARGET_BATCH: Final = 200
_REWATCH_SECONDS: Final = 1.0
# Timeouts for storing targets: at first, and after a timeout.
_STORE_SECONDS: Final = 1.0
_STORE_RETRY_SECONDS: Final = 0.02
_UNSTORED: Final = "the store does not accept the directory's targets yet"
_UNUSABLE: Final = "offline data cannot be used, keeping the last good state"
_MAX_SCAN_SECONDS: Final = 30.0
_FILE_SYSTEM_HANGS: Final = "offline directory does not respond, keeping the last good state"
_STORE_FAILURE: Final = "store does not accept the offline data"
_CANNOT_WATCH: Final = "offline directory cannot be watched, polling it instead"

Notices = Callable[[Path], AsyncIterator[object]]
"""Yields whenever something below a directory changed."""


def system_notices(root: Path) -> AsyncIterator[object]:
    """The operating system's notifications of changes below ``root``."""
    return watchfiles.awatch(root, watch_filter=None, debounce=_DEBOUNCE_MS, step=_STEP_MS)


class OfflineWatcher:
    """Keeps the store in step with a directory.

    Scans after a notification of the system, and on a timer for file systems without notifications.
    ``Retention`` decides which content is active: while something cannot be read, its last content stays, and
    ``degraded`` says why.

    Args:
        root: the directory.
        configs: stores environments.
        targets: stores targets.
        clock: time.
        telemetry: for problems.
        grace: seconds before something that disappeared from the directory is removed.
        interval: seconds between scans without a notification.
        notices: the source of notifications.
        files: reads files.
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
        grace: float = 30.0,
        interval: float = 10.0,
        notices: Notices = system_notices,
        files: Files | None = None,
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
        self._files = files if files is not None else Files()
        self._retention = Retention(str(root), grace)
        self._active: dict[EnvironmentId, OfflineEnvironment] = {}
        self._resumed: set[EnvironmentId] = set()
        self._reported: Mapping[str, str] = {}
        self._store_problem = ""
        self._unstored: dict[EnvironmentId, Sequence[Target]] = {}
        self._scanning_since: float | None = None
        self._identity: tuple[int, int] | None = None
        self._replaced = asyncio.Event()
        self._scan_requested = asyncio.Event()

    @property
    def degraded(self) -> tuple[str, ...]:
        """Why the served content differs from the directory; empty if it does not."""
        unstored = _UNSTORED if self._unstored else ""
        others = (self._store_problem, unstored, self._file_system_problem())
        reasons = [*self._retention.problems.values(), *(item for item in others if item)]
        more = (f"and {len(reasons) - _MAX_LISTED} more",) if reasons[_MAX_LISTED:] else ()
        return (*reasons[:_MAX_LISTED], *more)

    async def load(self) -> None:
        """Load the directory into the store for the first time.

        Raises ``OfflineDataError`` if the directory or any file in it cannot be used, naming the first
        problem and the number of others, and ``StoreError`` if the store fails.
        """
        reading = await asyncio.to_thread(read_directory, self._root, files=self._files)
        broken = [problem for problem in reading.all_problems if problem.severity is Severity.BROKEN]
        if broken:
            for problem in broken:
                self._log.error("offline file cannot be used", problem=str(problem))
            first = broken[0]
            more = f" (and {len(broken) - 1} more problems like this)" if broken[1:] else ""
            raise OfflineDataError(first.path, first.text + more, place=first.place or None)
        if not reading.locations:
            self._log.warning(
                "no environment in the config directory",
                path=str(self._root),
                environments="directories env-<environment id> with a feature_config.json",
            )
        self._apply(reading)
        await self._update_store()
        self.ready.set()

    def resume(self, configs: Iterable[EnvironmentConfig]) -> None:
        """Continue where the previous process stopped, instead of ``load``: the store has its data.

        Its data stays active until the directory can be read, and targets from SDKs stay too.
        """
        self._retention.resume(configs)
        self._active = dict(self._retention.environments)
        self._resumed = set(self._active)
        self.ready.set()

    async def run(self) -> None:
        """Load, if not done yet, and follow the directory until cancelled."""
        if not self.ready.is_set():
            await self.load()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch())
            group.create_task(self._report_hanging())
            while True:
                due = self._retention.next_scan
                wait = self._interval if due is None else due - self._clock.monotonic()
                await sleep_unless(self._scan_requested, self._clock, min(max(0.0, wait), self._interval))
                self._scan_requested.clear()
                await self.scan()

    async def scan(self) -> None:
        """Read what changed since the last scan and update the store; errors are logged, not raised."""
        self._scanning_since = self._clock.monotonic()
        try:
            locations = dict(self._retention.locations)
            reading = await asyncio.to_thread(read_directory, self._root, locations, files=self._files)
        except OfflineDataError as error:
            self._retention.scan_failed(str(error))
        except Exception as error:  # noqa: BLE001  (a file system failure must not end the watcher)
            self._retention.scan_failed(f"{self._root}: it cannot be read: {error!r}")
        else:
            self._apply(reading)
        finally:
            self._scanning_since = None
        self._once.forget(_FILE_SYSTEM_HANGS)
        self._report_problems()
        try:
            await self._update_store()
        except StoreError as error:
            self._store_problem = f"{_STORE_FAILURE}: {error}"
            self._once.warning(_STORE_FAILURE, error=str(error))
        else:
            self._store_problem = ""
            self._once.forget(_STORE_FAILURE)
        for environment, targets in list(self._unstored.items()):
            await self._store_targets(environment, targets)

    def _file_system_problem(self) -> str:
        since = self._scanning_since
        if since is None or self._clock.monotonic() - since < _MAX_SCAN_SECONDS:
            return ""
        return f"{self._root}: the file system has not answered for more than {_MAX_SCAN_SECONDS:g} s"

    def _apply(self, reading: DirectoryReading) -> None:
        if self._identity not in {None, reading.identity}:
            self._replaced.set()
        self._identity = reading.identity
        for problem in reading.problems:
            if problem.severity is not Severity.BROKEN:
                self._once.warning("offline directory has a problem", str(problem))
        for item in reading.readings:
            self._report(item.location.environment, item.problems)
        self._retention.update(reading, self._clock.monotonic())

    def _report_problems(self) -> None:
        old, new = self._reported, self._retention.problems
        for subject, text in new.items():
            if old.get(subject) != text:
                self._log.error(_UNUSABLE, problem=text)
        if resolved := old.keys() - new.keys():
            self._log.info("offline data is in order again", about=sorted(resolved)[:_MAX_LISTED])
        self._reported = dict(new)

    async def _update_store(self) -> None:
        environments = self._retention.environments
        for environment, loaded in environments.items():
            if self._active.get(environment) is not loaded:
                await self._replace(environment, loaded)
        for environment in self._active.keys() - environments.keys():
            await self._configs.remove(environment)
            self._resumed.discard(environment)
            del self._active[environment]
            self._log.warning("offline environment removed", environment=environment)

    async def _replace(self, environment: EnvironmentId, loaded: OfflineEnvironment) -> None:
        known = self._active.get(environment)
        await self._configs.replace(loaded.config)
        new_targets = await asyncio.to_thread(_new_targets, known, loaded)
        if environment in self._resumed:
            new_targets = [
                item for item in new_targets if await self._targets.get(environment, item.identifier) is None
            ]
        await self._store_targets(environment, new_targets)
        self._resumed.discard(environment)
        self._active[environment] = loaded
        self._log.info(
            "offline environment loaded" if known is None else "offline environment reloaded",
            environment=environment,
            flags=len(loaded.config.flags),
            segments=len(loaded.config.segments),
            targets=len(loaded.targets),
        )

    async def _store_targets(self, environment: EnvironmentId, targets: Sequence[Target]) -> None:
        """Store targets; what fails is retried later, and flags do not wait for it."""
        unstored: list[Target] = []
        seconds = _STORE_SECONDS
        for start in range(0, len(targets), _TARGET_BATCH):
            batch = targets[start : start + _TARGET_BATCH]
            try:
                async with asyncio.timeout(seconds):
                    await self._targets.put_many(environment, batch)
            except (StoreError, TimeoutError) as error:
                seconds = _STORE_RETRY_SECONDS
                unstored += batch
                reason = str(error) or "timed out"
                self._once.warning(_UNSTORED, environment, error=reason)
            await asyncio.sleep(0)
        if unstored:
            self._unstored[environment] = unstored
        else:
            self._unstored.pop(environment, None)

    def _report(self, environment: EnvironmentId, problems: tuple[Problem, ...]) -> None:
        usable = [problem for problem in problems if problem.severity is not Severity.BROKEN]
        for problem in usable[:_MAX_LISTED]:
            self._log.warning("offline file has a problem", problem=str(problem))
        if usable[_MAX_LISTED:]:
            self._log.warning(
                "offline files have more problems", environment=environment, more=len(usable) - _MAX_LISTED
            )
        rejected = sum(problem.severity is Severity.ERROR for problem in problems)
        if rejected:
            self._rejected.labels(environment).inc(rejected)

    async def _watch(self) -> None:
        """Watch the directory, and start over when it is replaced: the watch stays with the old one."""
        while True:
            self._replaced.clear()
            self._scan_requested.set()
            async with asyncio.TaskGroup() as group:
                listening = group.create_task(self._listen())
                await self._replaced.wait()
                listening.cancel()
            # On volumes without lasting inode numbers, every scan finds another directory.
            await self._clock.sleep(_REWATCH_SECONDS)

    async def _listen(self) -> None:
        while True:
            try:
                async for _ in self._notices(self._root):
                    self._scan_requested.set()
            except Exception as error:  # noqa: BLE001  (a library's own base class is not a promise)
                self._once.warning(_CANNOT_WATCH, error=str(error))
            await self._clock.sleep(self._interval)
            self._scan_requested.set()

    async def _report_hanging(self) -> None:
        while True:
            await self._clock.sleep(self._interval)
            if problem := self._file_system_problem():
                self._once.warning(_FILE_SYSTEM_HANGS, problem=problem)


def _new_targets(old: OfflineEnvironment | None, new: OfflineEnvironment) -> list[Target]:
    """Targets that changed in the directory; the others keep what SDKs sent meanwhile."""
    known = {target.identifier: target for target in old.targets} if old is not None else {}
    return [target for target in new.targets if known.get(target.identifier) != target]
