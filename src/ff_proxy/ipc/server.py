"""The sync process's side: serves its store to workers."""

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
from ff_proxy.ipc.frames import FrameConnection
from ff_proxy.ipc.shared_generations import SharedGenerations
from ff_proxy.model.clock import Clock
from ff_proxy.model.environment import EnvironmentConfig, Revision
from ff_proxy.model.keys import EnvironmentId, KeyVerdict, SdkKey, Secret
from ff_proxy.store.change_feed import Feed
from ff_proxy.store.merge import difference
from ff_proxy.store.private_files import FILE_MODE
from ff_proxy.store.protocol import ConfigStore, Notice, Registrations, TargetStore, UsageQueue
from ff_proxy.telemetry import Failures

_RETRY_SECONDS: Final = 1.0
_NOTHING: Final = msgspec.Raw(messages.encode(None))


@dataclass(frozen=True, slots=True)
class WorkerServices:
    """What workers can use: the parts of the store, and state of the sync process.

    ``targets`` must be ``CountedTargets``.
    """

    configs: ConfigStore
    targets: TargetStore
    usage: UsageQueue
    registrations: Registrations
    check_key: Callable[[SdkKey], Awaitable[KeyVerdict]]
    secret: Callable[[], Awaitable[Secret]]
    state: Callable[[], Awaitable[messages.State]]


class IpcServer:
    """The service that serves workers on the Unix socket at ``path``."""

    name = "ipc server"

    def __init__(
        self,
        path: Path,
        services: WorkerServices,
        generations: SharedGenerations,
        clock: Clock,
        failures: Failures,
    ) -> None:
        self.ready = asyncio.Event()
        self._path = path
        self._counted = _CountedConfigs(services.configs, generations)
        self._services = services
        self._generations = generations
        self._clock = clock
        self._failures = failures
        self._workers = 0
        self._no_workers = asyncio.Event()
        self._no_workers.set()

    async def run(self) -> None:
        """Serve until cancelled."""
        # The previous sync process may have died between a write and its count.
        self._generations.bump_all()
        async with asyncio.TaskGroup() as group:

            def connected() -> FrameConnection:
                frames = FrameConnection()
                group.create_task(self._serve(frames))
                return frames

            server = await asyncio.get_running_loop().create_unix_server(connected, str(self._path))
            self._path.chmod(FILE_MODE)  # even in another user's directory
            self.ready.set()
            try:
                await self._follow()
            finally:
                # Do not wait: since Python 3.12 that would last until every worker has left, whose tasks end
                # with the group.
                server.close()
                with suppress(FileNotFoundError):
                    self._path.unlink()

    async def _follow(self) -> None:
        while True:
            with suppress(StoreError):
                await self._counted.follow()
            await self._clock.sleep(_RETRY_SECONDS)

    async def until_disconnected(self) -> None:
        """Wait until no worker is connected, so that all have flushed their data."""
        await self._no_workers.wait()

    async def _serve(self, frames: FrameConnection) -> None:
        self._workers += 1
        self._no_workers.clear()
        try:
            await _Worker(self._services, self._counted, frames, self._failures).serve()
        except Exception as error:  # noqa: BLE001  (this worker connects again, the others go on)
            self._failures.contained("connection of a worker", error)
        finally:
            self._workers -= 1
            if not self._workers:
                self._no_workers.set()


class _CountedConfigs:
    """Environments whose revisions are counted before any worker sees them.

    A worker must not announce a change while another one believes that it is up to date. So a revision is
    counted before it first leaves this process.
    """

    def __init__(self, configs: ConfigStore, generations: SharedGenerations) -> None:
        self._configs = configs
        self._generations = generations
        self._counted_revisions: dict[EnvironmentId, Revision | None] = {}
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
        for environment in {*held, *self._counted_revisions}:
            self._count(environment, held.get(environment))
        return held

    async def environment(self, environment: EnvironmentId) -> EnvironmentConfig | None:
        """See ``ConfigReader``."""
        config = await self._configs.environment(environment)
        self._count(environment, None if config is None else config.revision)
        return config

    def _count(self, environment: EnvironmentId, revision: Revision | None) -> None:
        if self._counted_revisions.get(environment) == revision:
            return
        if revision is None:
            del self._counted_revisions[environment]
        else:
            self._counted_revisions[environment] = revision
        self._generations.bump_environment(environment)


class _Worker:
    """One worker's connection."""

    def __init__(
        self,
        services: WorkerServices,
        counted: _CountedConfigs,
        frames: FrameConnection,
        failures: Failures,
    ) -> None:
        self._failures = failures
        self._services = services
        self._counted = counted
        self._frames = frames
        # What this worker last received, so that only differences are sent.
        self._last_sent: dict[EnvironmentId, EnvironmentConfig] = {}

    async def serve(self) -> None:
        """Serve until the worker disconnects."""
        check = CancellationCheck()
        try:
            async with asyncio.TaskGroup() as group, self._counted.feed.watch() as notices:
                while True:
                    message = messages.decode_request(await self._frames.receive())
                    if isinstance(message.request, messages.Watch):
                        group.create_task(self._send_notices(notices))
                        self._send(message.number, _NOTHING)
                    else:
                        group.create_task(self._answer(message))
        except* StoreUnavailable:
            # The worker disconnected. On Python 3.11 this hides a cancellation.
            check.raise_if_cancelled()
        finally:
            self._frames.close()

    async def _answer(self, message: messages.RequestMessage) -> None:
        try:
            result = msgspec.Raw(messages.encode(await self._handle(message.request)))
        except StoreRefused as error:
            self._send(message.number, _NOTHING, messages.Failure(str(error), final=True))
        except StoreError as error:
            self._send(message.number, _NOTHING, messages.Failure(str(error)))
        except Exception as error:  # noqa: BLE001  (who asked hears of it; the other questions are answered)
            kind = type(message.request).__name__
            self._failures.contained("answer to a worker", error, kind)
            problem = f"the sync process failed to answer {kind} ({type(error).__name__})"
            self._send(message.number, _NOTHING, messages.Failure(problem))
        else:
            self._send(message.number, result)
        await self._frames.drain()

    async def _handle(self, request: messages.Request) -> object:  # noqa: C901, PLR0911, PLR0912  (a table)
        services = self._services
        match request:
            case messages.Environments():
                return await self._counted.environments()
            case messages.Environment(environment, known):
                return await self._environment(environment, known)
            case messages.Recent(environment, since):
                return await services.configs.recent(environment, since)
            case messages.Statuses():
                return await services.configs.statuses()
            case messages.GetTarget(environment, identifier):
                return await services.targets.get(environment, identifier)
            case messages.EveryTarget(environment):
                return await services.targets.every(environment)
            case messages.PutTarget(environment, target, keep, described_at):
                await services.targets.put(
                    environment, target, keep_attributes=keep, described_at=described_at
                )
                return None
            case messages.MergeUsage(counts, seen, name):
                return await services.usage.merge(counts, seen, name=name)
            case messages.AddRegistration(registration):
                return await services.registrations.add(registration)
            case messages.CheckKey(key):
                return await services.check_key(SdkKey(key))
            case messages.GetSecret():
                return (await services.secret()).reveal()
            case messages.GetState():
                return await services.state()
            case _:
                raise StoreUnavailable(f"{type(request).__name__} is not a request")

    async def _environment(
        self, environment: EnvironmentId, known: Revision | None
    ) -> messages.EnvironmentDelta | None:
        config = await self._counted.environment(environment)
        if config is None:
            self._last_sent.pop(environment, None)
            return None
        last_sent = self._last_sent.get(environment)
        self._last_sent[environment] = config
        # If the worker gave up on the response, it does not have the data.
        return _delta(last_sent if last_sent and last_sent.revision == known else None, config)

    async def _send_notices(self, notices: AsyncIterator[Notice]) -> None:
        async for notice in notices:
            self._send(messages.NOTICES, msgspec.Raw(messages.encode(notice)))
            await self._frames.drain()

    def _send(self, number: int, result: msgspec.Raw, failure: messages.Failure | None = None) -> None:
        self._frames.send(messages.encode(messages.ResponseMessage(number, failure, result)))


def _delta(old: EnvironmentConfig | None, new: EnvironmentConfig) -> messages.EnvironmentDelta:
    change = difference(old, new)
    return messages.EnvironmentDelta(
        whole=old is None,
        info=new.info,
        revision=new.revision,
        keys=new.keys,
        since=new.since,
        changed=change.changed,
        gone=[(item.domain, item.identifier) for item in change.gone],
        retired=new.retired,
    )
