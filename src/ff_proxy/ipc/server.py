"""The sync process's end: gives its store to workers."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from ff_proxy.aio.cancellation import CancellationCheck
from ff_proxy.errors import StoreError, StoreRefused, StoreUnavailable
from ff_proxy.ipc import messages
from ff_proxy.ipc.shared_generations import SharedGenerations
from ff_proxy.model.clock import Clock
from ff_proxy.model.environment import EnvironmentConfig, Revision
from ff_proxy.model.keys import EnvironmentId, SdkKey, Secret
from ff_proxy.model.verdict import KeyVerdict
from ff_proxy.store.change_feed import Feed
from ff_proxy.store.private_files import FILE_MODE
from ff_proxy.store.protocol import ConfigStore, Notice, Registrations, TargetStore, UsageQueue
from ff_proxy.telemetry import Failures

_LOOK_AGAIN: Final = 1.0
_NOTHING: Final = msgspec.Raw(messages.encode(None))


@dataclass(frozen=True, slots=True)
class Offer:
    """What workers are given: the parts of a store, and what only the sync process knows.

    ``targets`` are counted already (see ``counted``).
    """

    configs: ConfigStore
    targets: TargetStore
    usage: UsageQueue
    registrations: Registrations
    check_key: Callable[[SdkKey], Awaitable[KeyVerdict]]
    secret: Callable[[], Awaitable[Secret]]
    state: Callable[[], Awaitable[messages.State]]


class IpcServer:
    """The service that answers workers on the Unix socket at ``path``."""

    name = "link"

    def __init__(
        self, path: Path, offer: Offer, generations: SharedGenerations, clock: Clock, failures: Failures
    ) -> None:
        self.ready = asyncio.Event()
        self._path = path
        self._counted = _CountedConfigs(offer.configs, generations)
        self._offer = offer
        self._generations = generations
        self._clock = clock
        self._failures = failures
        self._workers = 0
        self._alone = asyncio.Event()
        self._alone.set()

    async def run(self) -> None:
        """Serve until cancelled."""
        # A predecessor may have died between a write and its count.
        self._generations.bump_all()
        async with asyncio.TaskGroup() as group:

            def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                group.create_task(self._serve(reader, writer))

            server = await asyncio.start_unix_server(connected, self._path)
            self._path.chmod(FILE_MODE)  # also where its directory is somebody else's
            self.ready.set()
            try:
                await self._follow()
            finally:
                # Not waited for: from Python 3.12 on that takes until every worker is gone, and their tasks
                # end with the group.
                server.close()
                with suppress(FileNotFoundError):
                    self._path.unlink()

    async def _follow(self) -> None:
        while True:
            with suppress(StoreError):
                await self._counted.follow()
            await self._clock.sleep(_LOOK_AGAIN)

    async def until_alone(self) -> None:
        """Wait until no worker is connected: it has handed over what it held then."""
        await self._alone.wait()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._workers += 1
        self._alone.clear()
        try:
            await _Worker(self._offer, self._counted, reader, writer, self._failures).serve()
        except Exception as error:  # noqa: BLE001  (this worker connects again, the others go on)
            self._failures.contained("connection of a worker", error)
        finally:
            self._workers -= 1
            if not self._workers:
                self._alone.set()


class _CountedConfigs:
    """Environments, of which no worker is told anything that the tide has not counted.

    A worker must not pass on a change while another one, asked next, takes itself to be up to date. So a
    revision is counted when it leaves this process for the first time, by whichever way it does.
    """

    def __init__(self, configs: ConfigStore, generations: SharedGenerations) -> None:
        self._configs = configs
        self._generations = generations
        self._told: dict[EnvironmentId, Revision | None] = {}
        self.feed: Final = Feed()

    async def follow(self) -> None:
        """Pass notices on to ``feed``, until cancelled."""
        async with self._configs.watch() as notices:
            async for notice in notices:
                self._count(notice.environment, notice.revision)
                self.feed.publish(notice)

    async def environments(self) -> dict[EnvironmentId, Revision]:
        """See ``ConfigReader``."""
        held = dict(await self._configs.environments())
        for environment in {*held, *self._told}:
            self._count(environment, held.get(environment))
        return held

    async def environment(self, environment: EnvironmentId) -> EnvironmentConfig | None:
        """See ``ConfigReader``."""
        config = await self._configs.environment(environment)
        self._count(environment, None if config is None else config.revision)
        return config

    def _count(self, environment: EnvironmentId, revision: Revision | None) -> None:
        if self._told.get(environment) == revision:
            return
        if revision is None:
            del self._told[environment]
        else:
            self._told[environment] = revision
        self._generations.bump_environment(environment)


class _Worker:
    """One worker's connection."""

    def __init__(
        self,
        offer: Offer,
        counted: _CountedConfigs,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        failures: Failures,
    ) -> None:
        self._failures = failures
        self._offer = offer
        self._counted = counted
        self._reader = reader
        self._writer = writer
        # What this worker was given last, so that the next time only differences go over the socket.
        self._given: dict[EnvironmentId, EnvironmentConfig] = {}

    async def serve(self) -> None:
        """Answer until the worker goes away."""
        check = CancellationCheck()
        try:
            async with asyncio.TaskGroup() as group, self._counted.feed.watch() as notices:
                while True:
                    asked = messages.decode_asked(await messages.read_frame(self._reader))
                    if isinstance(asked.request, messages.Watch):
                        group.create_task(self._send_notices(notices))
                        self._send(asked.number, _NOTHING)
                    else:
                        group.create_task(self._answer(asked))
        except* StoreUnavailable:
            # The worker is gone; its supervisor knows. On Python 3.11 that hides a cancellation.
            check.raise_if_cancelled()
        finally:
            self._writer.close()

    async def _answer(self, asked: messages.Asked) -> None:
        try:
            result = msgspec.Raw(messages.encode(await self._do(asked.request)))
        except StoreRefused as error:
            self._send(asked.number, _NOTHING, messages.Failure(str(error), final=True))
        except StoreError as error:
            self._send(asked.number, _NOTHING, messages.Failure(str(error)))
        except Exception as error:  # noqa: BLE001  (who asked hears of it; the other questions are answered)
            kind = type(asked.request).__name__
            self._failures.contained("answer to a worker", error, kind)
            problem = f"the sync process failed to answer {kind} ({type(error).__name__})"
            self._send(asked.number, _NOTHING, messages.Failure(problem))
        else:
            self._send(asked.number, result)
        with suppress(OSError):
            await self._writer.drain()

    async def _do(self, request: messages.Request) -> object:  # noqa: C901, PLR0911, PLR0912  (a table)
        offer = self._offer
        match request:
            case messages.Environments():
                return await self._counted.environments()
            case messages.Environment(environment, known):
                return await self._environment(environment, known)
            case messages.Recent(environment, since):
                return await offer.configs.recent(environment, since)
            case messages.Statuses():
                return await offer.configs.statuses()
            case messages.GetTarget(environment, identifier):
                return await offer.targets.get(environment, identifier)
            case messages.PutTarget(environment, target, keep, None):
                await offer.targets.put(environment, target, keep_attributes=keep)
                return None
            case messages.PutTarget(environment, target, keep, int(described_at)):
                await offer.targets.put_late(environment, target, described_at, keep_attributes=keep)
                return None
            case messages.MergeUsage(counts, seen):
                return await offer.usage.merge(counts, seen)
            case messages.AddRegistration(registration):
                return await offer.registrations.add(registration)
            case messages.CheckKey(key):
                return await offer.check_key(SdkKey(key))
            case messages.AskSecret():
                return (await offer.secret()).reveal()
            case messages.AskState():
                return await offer.state()
            case _:
                raise StoreUnavailable(f"{type(request).__name__} is not a question")

    async def _environment(self, environment: EnvironmentId, known: Revision | None) -> messages.Part | None:
        config = await self._counted.environment(environment)
        if config is None:
            self._given.pop(environment, None)
            return None
        given = self._given.get(environment)
        self._given[environment] = config
        # An answer that the worker did not wait for is one that it does not hold.
        return messages.difference(given if given and given.revision == known else None, config)

    async def _send_notices(self, notices: AsyncIterator[Notice]) -> None:
        async for notice in notices:
            self._send(messages.NOTICES, msgspec.Raw(messages.encode(notice)))
            with suppress(OSError):
                await self._writer.drain()

    def _send(self, number: int, result: msgspec.Raw, failure: messages.Failure | None = None) -> None:
        messages.write_frame(self._writer, messages.Answered(number, failure, result))
