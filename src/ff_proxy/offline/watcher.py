"""Serving from an offline directory: what is in it goes into the store, and so does what changes."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import watchfiles

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
_SHOWN: Final = 20
_TARGETS_AT_ONCE: Final = 200
# How long the store may take for them, and once it did not answer within that.
_STORE_SECONDS: Final = 1.0
_STORE_AWAY_SECONDS: Final = 0.02
_UNSTORED: Final = "the store does not take targets of the directory yet"
_TROUBLE: Final = "offline data cannot be used, the last good state stays in force"
_PATIENCE_SECONDS: Final = 30.0
_HANGING: Final = "offline directory does not answer, the last good state stays in force"
_STORE: Final = "store does not take what is in the offline directory"
_UNWATCHED: Final = "offline directory cannot be watched, looking at it from time to time"

Notices = Callable[[Path], AsyncIterator[object]]
"""Yields something whenever something below a directory changed."""


def system_notices(root: Path) -> AsyncIterator[object]:
    """The operating system's notices of changes below ``root``."""
    return watchfiles.awatch(root, watch_filter=None, debounce=_DEBOUNCE_MS, step=_STEP_MS)


class OfflineWatcher:
    """Keeps the store equal to a directory.

    Notices of the system say when to look; a timer does as well, for network file systems and whatever else
    gives no notice. What of the directory is in force is for ``Retention`` to say: while something cannot be
    read, what was read last stays, and ``degraded`` says why.

    Args:
        root: the directory.
        configs: where environments go.
        targets: where targets go.
        clock: time.
        telemetry: told of problems.
        grace: seconds before what vanished from the directory is withdrawn.
        interval: seconds between two looks without a notice.
        notices: where notices come from.
        files: how to read.
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
        self._in_force: dict[EnvironmentId, OfflineEnvironment] = {}
        self._resumed: set[EnvironmentId] = set()
        self._told: Mapping[str, str] = {}
        self._store_trouble = ""
        self._unstored: dict[EnvironmentId, Sequence[Target]] = {}
        self._looking_since: float | None = None
        self._identity: tuple[int, int] | None = None
        self._replaced = asyncio.Event()
        self._wanted = asyncio.Event()
        self._rescheduled = asyncio.Event()

    @property
    def degraded(self) -> tuple[str, ...]:
        """Why what is served is not what is in the directory; empty if it is."""
        unstored = _UNSTORED if self._unstored else ""
        others = (self._store_trouble, unstored, self._hanging())
        reasons = [*self._retention.troubles.values(), *(one for one in others if one)]
        more = (f"and {len(reasons) - _SHOWN} more",) if reasons[_SHOWN:] else ()
        return (*reasons[:_SHOWN], *more)

    async def load(self) -> None:
        """The first look; after it the store holds what the directory holds.

        Raises ``OfflineDataError`` if the directory or any file in it cannot be used, naming the first
        and how many more there are, and ``StoreError`` if the store cannot take it.
        """
        reading = await asyncio.to_thread(read_directory, self._root, files=self._files)
        broken = [problem for problem in _problems(reading) if problem.severity is Severity.BROKEN]
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
                wanted="directories env-<environment id> that hold feature_config.json",
            )
        self._observe(reading)
        await self._bring_into_force()
        self.ready.set()

    def resume(self, held: Iterable[EnvironmentConfig]) -> None:
        """Go on where a predecessor ended, instead of ``load``: the stores hold what it put there.

        What it had read stays in force until the directory can be read, and what SDKs have said of targets
        stays as well.
        """
        self._retention.resume(held)
        self._in_force = dict(self._retention.environments)
        self._resumed = set(self._in_force)
        self.ready.set()

    async def run(self) -> None:
        """Load, unless that was done, and follow the directory until cancelled."""
        if not self.ready.is_set():
            await self.load()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_listening())
            group.create_task(self._tick())
            group.create_task(self._look_when_due())
            while True:
                await self._wanted.wait()
                self._wanted.clear()
                await self.look()

    async def look(self) -> None:
        """Read what changed since the last look and bring it into force; errors are logged, not raised."""
        self._looking_since = self._clock.monotonic()
        try:
            known = dict(self._retention.known)
            reading = await asyncio.to_thread(read_directory, self._root, known, files=self._files)
        except OfflineDataError as error:
            self._retention.cannot_look(str(error))
        except Exception as error:  # noqa: BLE001  (whatever a file system does, what is in force stays so)
            self._retention.cannot_look(f"{self._root}: it cannot be read: {error!r}")
        else:
            self._observe(reading)
        finally:
            self._looking_since = None
        self._once.forget(_HANGING)
        self._tell_troubles()
        self._rescheduled.set()
        try:
            await self._bring_into_force()
        except StoreError as error:
            self._store_trouble = f"{_STORE}: {error}"
            self._once.warning(_STORE, error=str(error))
        else:
            self._store_trouble = ""
            self._once.forget(_STORE)
        for environment, targets in list(self._unstored.items()):
            await self._store_targets(environment, targets)

    def _hanging(self) -> str:
        since = self._looking_since
        if since is None or self._clock.monotonic() - since < _PATIENCE_SECONDS:
            return ""
        return f"{self._root}: the file system has not answered for more than {_PATIENCE_SECONDS:g} s"

    def _observe(self, reading: DirectoryReading) -> None:
        if self._identity not in {None, reading.identity}:
            self._replaced.set()
        self._identity = reading.identity
        for problem in reading.problems:
            if problem.severity is not Severity.BROKEN:
                self._once.warning("offline directory has a problem", str(problem))
        for one in reading.readings:
            self._report(one.location.environment, one.problems)
        self._retention.observe(reading, self._clock.monotonic())

    def _tell_troubles(self) -> None:
        before, now = self._told, self._retention.troubles
        for subject, text in now.items():
            if before.get(subject) != text:
                self._log.error(_TROUBLE, problem=text)
        if over := before.keys() - now.keys():
            self._log.info("offline data is in order again", about=sorted(over)[:_SHOWN])
        self._told = dict(now)

    async def _bring_into_force(self) -> None:
        wanted = self._retention.environments
        for environment, made in wanted.items():
            if self._in_force.get(environment) is not made:
                await self._put(environment, made)
        for environment in self._in_force.keys() - wanted.keys():
            await self._configs.remove(environment)
            self._resumed.discard(environment)
            del self._in_force[environment]
            self._log.warning("offline environment withdrawn", environment=environment)

    async def _put(self, environment: EnvironmentId, made: OfflineEnvironment) -> None:
        known = self._in_force.get(environment)
        await self._configs.replace(made.config)
        news = await asyncio.to_thread(_new_targets, known, made)
        if environment in self._resumed:
            news = [one for one in news if await self._targets.get(environment, one.identifier) is None]
        await self._store_targets(environment, news)
        self._resumed.discard(environment)
        self._in_force[environment] = made
        self._log.info(
            "offline environment loaded" if known is None else "offline environment reloaded",
            environment=environment,
            flags=len(made.config.flags),
            segments=len(made.config.segments),
            targets=len(made.targets),
        )

    async def _store_targets(self, environment: EnvironmentId, targets: Sequence[Target]) -> None:
        """Store them, or what a store leaves over later: flags are served without waiting for it."""
        left: list[Target] = []
        seconds = _STORE_SECONDS
        for start in range(0, len(targets), _TARGETS_AT_ONCE):
            some = targets[start : start + _TARGETS_AT_ONCE]
            try:
                async with asyncio.timeout(seconds):
                    await self._targets.put_many(environment, some)
            except (StoreError, TimeoutError) as error:
                seconds = _STORE_AWAY_SECONDS
                left += some
                why = str(error) or "no answer in time"
                self._once.warning(_UNSTORED, environment, error=why)
            await asyncio.sleep(0)
        if left:
            self._unstored[environment] = left
        else:
            self._unstored.pop(environment, None)

    def _report(self, environment: EnvironmentId, problems: tuple[Problem, ...]) -> None:
        lesser = [problem for problem in problems if problem.severity is not Severity.BROKEN]
        for problem in lesser[:_SHOWN]:
            self._log.warning("offline file has a problem", problem=str(problem))
        if lesser[_SHOWN:]:
            self._log.warning(
                "offline files have more problems", environment=environment, more=len(lesser) - _SHOWN
            )
        rejected = sum(problem.severity is Severity.ERROR for problem in problems)
        if rejected:
            self._rejected.labels(environment).inc(rejected)

    async def _keep_listening(self) -> None:
        """Listen, and anew when another directory is at the place: notices are given of the old one."""
        while True:
            self._replaced.clear()
            self._wanted.set()
            async with asyncio.TaskGroup() as group:
                listening = group.create_task(self._listen())
                await self._replaced.wait()
                listening.cancel()

    async def _listen(self) -> None:
        while True:
            try:
                async for _ in self._notices(self._root):
                    self._wanted.set()
            except Exception as error:  # noqa: BLE001  (a library's own base class is not a promise)
                self._once.warning(_UNWATCHED, error=str(error))
            await self._clock.sleep(self._interval)
            self._wanted.set()

    async def _tick(self) -> None:
        while True:
            await self._clock.sleep(self._interval)
            self._wanted.set()
            if hanging := self._hanging():
                self._once.warning(_HANGING, problem=hanging)

    async def _look_when_due(self) -> None:
        """Look when a time is up, which the directory gives no notice of."""
        while True:
            due = self._retention.next_look
            self._rescheduled.clear()
            if due is None:
                await self._rescheduled.wait()
                continue
            sleeping = asyncio.ensure_future(self._clock.sleep(max(0.0, due - self._clock.monotonic())))
            changed = asyncio.ensure_future(self._rescheduled.wait())
            try:
                await asyncio.wait({sleeping, changed}, return_when=asyncio.FIRST_COMPLETED)
                if sleeping.done():
                    self._wanted.set()
                    await changed
            finally:
                for waiting in (sleeping, changed):
                    waiting.cancel()


def _problems(reading: DirectoryReading) -> list[Problem]:
    return [*reading.problems, *(problem for one in reading.readings for problem in one.problems)]


def _new_targets(before: OfflineEnvironment | None, now: OfflineEnvironment) -> list[Target]:
    """Targets whose description is new: what SDKs said of the others in the meantime stays."""
    known = {target.identifier: target for target in before.targets} if before is not None else {}
    return [target for target in now.targets if known.get(target.identifier) != target]
