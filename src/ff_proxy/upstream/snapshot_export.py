"""Fetching every configured environment completely, once, for generate mode.

See spec/behaviour#modes, spec/behaviour#generate.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

import msgspec

from ff_proxy.errors import UpstreamError, UpstreamRefused, UpstreamUnavailable
from ff_proxy.model.environment import Domain, EnvironmentConfig, Item
from ff_proxy.model.keys import SdkKey
from ff_proxy.model.target import Target
from ff_proxy.telemetry import Logger, Telemetry
from ff_proxy.upstream.admin import AdminApi, Listing
from ff_proxy.upstream.client import ClientApi
from ff_proxy.upstream.context import Schedule
from ff_proxy.upstream.credentials import Credentials, EnvironmentDirectory
from ff_proxy.upstream.fetcher import Fetcher

Answer = TypeVar("Answer")
Entry = TypeVar("Entry")

_MAX_TRIES: Final = 4
_MAX_CONCURRENT: Final = 8
# The first line comes soon, the others less often.
_FIRST_SECONDS: Final = 1.0
_EVERY_SECONDS: Final = 5.0
_MAX_NAMED: Final = 3


class ExportedEnvironment(msgspec.Struct, frozen=True):
    """One environment, complete."""

    config: EnvironmentConfig
    targets: tuple[Target, ...]


@dataclass(slots=True)
class Wait:
    """A running step: its start, the number of the try, and the error of the last one."""

    what: str
    since: float
    attempt: int = 1
    error: str = ""

    def failed(self, error: UpstreamError) -> None:
        """Record a failed try that will be repeated."""
        self.attempt += 1
        self.error = str(error)


class FetchProgress:
    """Logs the steps that have been running longest, and how many have ended, including failed ones."""

    def __init__(self, schedule: Schedule, log: Logger) -> None:
        self._schedule = schedule
        self._log = log
        self._waits: dict[int, Wait] = {}
        self._done = 0

    @contextmanager
    def waiting(self, what: str) -> Iterator[Wait]:
        """Report ``what`` as running during the context."""
        wait = Wait(what, self._schedule.clock.monotonic())
        self._waits[id(wait)] = wait
        try:
            yield wait
        finally:
            del self._waits[id(wait)]
            self._done += 1

    @asynccontextmanager
    async def logged(self) -> AsyncIterator[None]:
        """During the context, log what is being waited for: after a second, then every few seconds."""
        logging_task = asyncio.create_task(self._log_regularly())
        try:
            yield
        finally:
            logging_task.cancel()
            await asyncio.gather(logging_task, return_exceptions=True)

    async def _log_regularly(self) -> None:
        await self._schedule.clock.sleep(_FIRST_SECONDS)
        while True:
            self._log_once()
            await self._schedule.clock.sleep(_EVERY_SECONDS)

    def _log_once(self) -> None:
        waits = sorted(self._waits.values(), key=lambda wait: wait.since)
        if not waits:
            return
        say = self._log.warning if any(wait.error for wait in waits) else self._log.info
        say(
            "waiting for Harness",
            waits=[self._describe(wait) for wait in waits[:_MAX_NAMED]],
            more=max(len(waits) - _MAX_NAMED, 0),
            done=self._done,
        )

    def _describe(self, wait: Wait) -> str:
        seconds = self._schedule.clock.monotonic() - wait.since
        said = f"{wait.what}: {seconds:.0f} s, try {wait.attempt}"
        return f"{said}; the last one: {wait.error}" if wait.error else said


class SnapshotExporter:
    """Fetches whole environments, and gives up after a few tries."""

    def __init__(self, *, api: ClientApi, admin: AdminApi, telemetry: Telemetry, schedule: Schedule) -> None:
        self._api = api
        self._admin = admin
        self._fetcher = Fetcher(api, telemetry)
        self._log = telemetry.logger("upstream")
        self._schedule = schedule
        self._slots = asyncio.Semaphore(_MAX_CONCURRENT)
        self._progress = FetchProgress(schedule, self._log)

    async def collect(self, keys: Sequence[SdkKey]) -> tuple[ExportedEnvironment, ...]:
        """Every environment of ``keys``, ordered by id.

        Raises:
            UpstreamUnavailable: names every incomplete key and environment, and why.
        """
        async with self._progress.logged():
            return await self._collect(keys)

    async def _collect(self, keys: Sequence[SdkKey]) -> tuple[ExportedEnvironment, ...]:
        directory = EnvironmentDirectory()
        problems: list[str] = []
        found: list[Credentials] = []
        for authenticated in await self._gather(self._authenticate(key, directory) for key in keys):
            if isinstance(authenticated, str):
                problems.append(authenticated)
            elif authenticated not in found:
                found.append(authenticated)
        collected: list[ExportedEnvironment] = []
        for outcome in await self._gather(self._environment(credentials) for credentials in found):
            if isinstance(outcome, str):
                problems.append(outcome)
            else:
                collected.append(outcome)
        if problems:
            raise UpstreamUnavailable("not everything could be fetched: " + "; ".join(problems))
        return tuple(sorted(collected, key=lambda one: one.config.id))

    async def _gather(self, works: Iterable[Awaitable[Answer]]) -> list[Answer]:
        async def bounded(work: Awaitable[Answer]) -> Answer:
            async with self._slots:
                return await work

        async with asyncio.TaskGroup() as tasks:
            started = [tasks.create_task(bounded(work)) for work in works]
        return [task.result() for task in started]

    async def _authenticate(self, key: SdkKey, directory: EnvironmentDirectory) -> Credentials | str:
        try:
            session = await self._retry(f"key {key.masked}", lambda: self._api.authenticate(key))
        except UpstreamError as error:
            return f"key {key.masked}: {error}"
        credentials, _ = directory.add_session(session, self._api.authenticate)
        return credentials

    async def _environment(self, credentials: Credentials) -> ExportedEnvironment | str:
        info = credentials.environment
        name = info.identifier or info.id
        try:
            flags = await self._retry(f"flags of {name}", partial(self._items, credentials, Domain.FLAG))
            segments = await self._retry(
                f"target groups of {name}", partial(self._items, credentials, Domain.SEGMENT)
            )
            keys = await self._retry(
                f"SDK keys of {name}", lambda: self._complete(self._admin.keys(info), "keys")
            )
            targets = await self._retry(
                f"targets of {name}", lambda: self._complete(self._admin.targets(info), "targets")
            )
        except UpstreamError as error:
            return f"environment {info.id}: {error}"
        # Include configured keys even if the listing lacks them yet.
        hashes = frozenset(keys) | {key.hash for key in credentials.accepted}
        config = EnvironmentConfig(info, flags, segments, hashes)
        self._log.info(
            "environment fetched",
            environment=info.id,
            flags=len(config.flags),
            segments=len(config.segments),
            keys=len(hashes),
            targets=len(targets),
        )
        return ExportedEnvironment(config, targets)

    async def _items(self, credentials: Credentials, domain: Domain) -> Mapping[str, Item]:
        async def nothing_held() -> None:
            return None

        return await credentials.call(lambda session: self._fetcher.fetch_all(session, domain, nothing_held))

    @staticmethod
    async def _complete(listing: Awaitable[Listing[Entry]], what: str) -> tuple[Entry, ...]:
        listed = await listing
        if not listed.complete:
            raise UpstreamUnavailable(f"the listing of {what} is partial")
        return listed.entries

    async def _retry(self, what: str, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        backoff = self._schedule.backoff()
        with self._progress.waiting(what) as wait:
            for _ in range(_MAX_TRIES - 1):
                try:
                    return await ask()
                except UpstreamRefused:
                    raise
                except UpstreamError as error:
                    wait.failed(error)
                    await self._schedule.clock.sleep(backoff.next(error))
            return await ask()
