"""Fetching every configured environment completely, once, for generate mode.

See spec/behaviour#modes, spec/behaviour#generate.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Final, TypeVar

import msgspec

from ff_proxy.errors import UpstreamError, UpstreamRefused, UpstreamUnavailable
from ff_proxy.model.environment import Domain, EnvironmentConfig, Item
from ff_proxy.model.keys import SdkKey
from ff_proxy.model.target import Target
from ff_proxy.telemetry import Telemetry
from ff_proxy.upstream.admin import AdminApi, Listing
from ff_proxy.upstream.client import ClientApi
from ff_proxy.upstream.credentials import Credentials, EnvironmentDirectory
from ff_proxy.upstream.fetch_progress import FetchProgress
from ff_proxy.upstream.fetcher import Fetcher
from ff_proxy.upstream.intervals import Schedule

Answer = TypeVar("Answer")
Entry = TypeVar("Entry")

_MAX_TRIES: Final = 4
_MAX_CONCURRENT: Final = 8


class ExportedEnvironment(msgspec.Struct, frozen=True):
    """One environment, complete."""

    config: EnvironmentConfig
    targets: tuple[Target, ...]


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
