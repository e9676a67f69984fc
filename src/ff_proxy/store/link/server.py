"""The sync process's end: gives its store to workers."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from ff_proxy.errors import StoreError, StoreUnavailable
from ff_proxy.model.environment import EnvironmentConfig, Revision
from ff_proxy.model.keys import EnvironmentId, SdkKey
from ff_proxy.store.link import messages
from ff_proxy.store.link.tide import Tide
from ff_proxy.store.protocol import Store
from ff_proxy.telemetry import Telemetry

CheckKey = Callable[[SdkKey], Awaitable[str]]
"""Asks SaaS about a key; answers a verdict's name."""

_NOTHING: Final = msgspec.Raw(messages.encode(None))


class LinkServer:
    """The service that answers workers on the Unix socket at ``path``.

    Args:
        store: what they are given.
        tide: counts what they change, and what the upstream changes.
        check_key: answers ``CheckKey``.
    """

    name = "link"

    def __init__(
        self, path: Path, store: Store, tide: Tide, check_key: CheckKey, telemetry: Telemetry
    ) -> None:
        self.ready = asyncio.Event()
        self._path = path
        self._store = store
        self._tide = tide
        self._check_key = check_key
        self._log = telemetry.logger("link")

    async def run(self) -> None:
        """Serve until cancelled."""
        async with asyncio.TaskGroup() as group:

            def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                group.create_task(_Worker(self._store, self._tide, self._check_key, reader, writer).serve())

            server = await asyncio.start_unix_server(connected, self._path)
            self.ready.set()
            try:
                await self._count_environments()
            finally:
                # Not waited for: from Python 3.12 on that takes until every worker is gone, and their tasks
                # end with the group.
                server.close()
                with suppress(FileNotFoundError):
                    self._path.unlink()

    async def _count_environments(self) -> None:
        async with self._store.configs.watch() as notices:
            async for _ in notices:
                self._tide.environments_moved()


class _Worker:
    """One worker's connection."""

    def __init__(
        self,
        store: Store,
        tide: Tide,
        check_key: CheckKey,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._store = store
        self._tide = tide
        self._check_key = check_key
        self._reader = reader
        self._writer = writer
        # What this worker was given last, so that the next time only differences go over the socket.
        self._given: dict[EnvironmentId, EnvironmentConfig] = {}

    async def serve(self) -> None:
        """Answer until the worker goes away."""
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    asked = messages.decode_asked(await messages.read_frame(self._reader))
                    if isinstance(asked.request, messages.Watch):
                        watching = asyncio.Event()
                        group.create_task(self._send_notices(watching))
                        await watching.wait()
                        self._send(asked.number, _NOTHING)
                    else:
                        group.create_task(self._answer(asked))
        except* StoreUnavailable:
            pass  # the worker is gone; its supervisor knows
        finally:
            self._writer.close()

    async def _answer(self, asked: messages.Asked) -> None:
        try:
            result = msgspec.Raw(messages.encode(await self._do(asked.request)))
        except StoreError as error:
            self._send(asked.number, _NOTHING, messages.Failure(str(error)))
        else:
            self._send(asked.number, result)
        with suppress(OSError):
            await self._writer.drain()

    async def _do(self, request: messages.Request) -> object:  # noqa: PLR0911  (a table of requests)
        configs, targets = self._store.configs, self._store.targets
        match request:
            case messages.Environments():
                return await configs.environments()
            case messages.Environment(environment, known):
                return await self._environment(environment, known)
            case messages.Recent(environment, since):
                return await configs.recent(environment, since)
            case messages.Statuses():
                return await configs.statuses()
            case messages.GetTarget(environment, identifier):
                return await targets.get(environment, identifier)
            case messages.PutTarget(environment, target, keep):
                await targets.put(environment, target, keep_attributes=keep)
                self._tide.target_moved(environment, target.identifier)
                return None
            case messages.MergeUsage(counts, seen):
                return await self._store.usage.merge(counts, seen)
            case messages.AddRegistration(registration):
                return await self._store.registrations.add(registration)
            case messages.CheckKey(key):
                return await self._check_key(SdkKey(key))
            case _:
                raise StoreUnavailable(f"{type(request).__name__} is not a question")

    async def _environment(self, environment: EnvironmentId, known: Revision | None) -> messages.Part | None:
        config = await self._store.configs.environment(environment)
        if config is None:
            self._given.pop(environment, None)
            return None
        given = self._given.get(environment)
        self._given[environment] = config
        # An answer that the worker did not wait for is one that it does not hold.
        return messages.difference(given if given and given.revision == known else None, config)

    async def _send_notices(self, watching: asyncio.Event) -> None:
        async with self._store.configs.watch() as notices:
            watching.set()
            async for notice in notices:
                self._send(messages.NOTICES, msgspec.Raw(messages.encode(notice)))
                with suppress(OSError):
                    await self._writer.drain()

    def _send(self, number: int, result: msgspec.Raw, failure: messages.Failure | None = None) -> None:
        messages.write_frame(self._writer, messages.Answered(number, failure, result))
