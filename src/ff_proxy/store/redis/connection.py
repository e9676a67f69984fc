"""Asking Redis: bounded in time and in number, with every foreign error translated."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

from redis.asyncio.client import PubSub
from redis.exceptions import MovedError, NoScriptError, ReadOnlyError

from ff_proxy.errors import StoreUnavailable
from ff_proxy.store.redis.clients import CONNECT_SECONDS, Clients
from ff_proxy.store.redis.errors import translated

# Connecting, waiting for the answer and following a moved slot together.
_PATIENCE: Final = 6.0
# What waits beyond is in line here instead of opening a connection each.
_AT_ONCE: Final = 32
# Redis answers others between two batches.
_BATCH: Final = 256
# A subscription that has been silent for so long is asked whether it is still there.
_SILENCE: Final = 5.0

Argument = str | bytes | int | float
Command = Sequence[Argument]


class Script:
    """A Lua script: sent once, then called by its hash."""

    def __init__(self, source: str) -> None:
        self.source: Final = source
        self.sha: Final = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()


class Connection:
    """The connections of ``clients`` to one Redis; closed by ``close``.

    Every call ends within ``_PATIENCE`` seconds of its turn, and raises nothing but ``StoreUnavailable``.
    """

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._gate = asyncio.Semaphore(_AT_ONCE)
        # Channels that could not be subscribed to when that was last tried, and why.
        self.deaf_to: dict[str, str] = {}

    async def close(self) -> None:
        """Give back every connection."""
        # Nobody can do anything about a connection that does not end well.
        with suppress(StoreUnavailable), translated():
            await self._clients.close()

    async def do(self, *command: Argument) -> Any:
        """One command; bytes in, bytes out."""
        async with self._asking():
            return await self._clients.client.execute_command(*command)

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument]) -> Any:
        """A script over keys of one environment."""
        rest = (len(keys), *keys, *arguments)
        async with self._asking():
            try:
                call: Awaitable[Any] = self._clients.client.execute_command("EVALSHA", script.sha, *rest)
                return await call
            except NoScriptError:
                again: Awaitable[Any] = self._clients.client.execute_command("EVAL", script.source, *rest)
                return await again

    async def each(self, commands: Sequence[Command]) -> list[Any]:
        """Several commands in few round trips, answers in order; the first error is raised."""
        if len(commands) == 1:
            return [await self.do(*commands[0])]  # a pipeline of one costs more
        answers: list[Any] = []
        for start in range(0, len(commands), _BATCH):
            async with self._asking():
                for answer in await self._pipelined(commands[start : start + _BATCH]):
                    if isinstance(answer, Exception):
                        raise answer
                    answers.append(answer)
        return answers

    async def run_each(
        self, script: Script, calls: Sequence[tuple[Sequence[str], Sequence[Argument]]]
    ) -> list[Any]:
        """A script called several times, as ``each``; one that is run twice in trouble must not mind."""
        if len(calls) == 1:
            return [await self.run(script, *calls[0])]
        answers: list[Any] = []
        for start in range(0, len(calls), _BATCH):
            some = [(len(keys), *keys, *arguments) for keys, arguments in calls[start : start + _BATCH]]
            async with self._asking():
                found = await self._pipelined([("EVALSHA", script.sha, *rest) for rest in some])
                if any(isinstance(answer, NoScriptError) for answer in found):
                    found = await self._pipelined([("EVAL", script.source, *rest) for rest in some])
                for answer in found:
                    if isinstance(answer, Exception):
                        raise answer
                    answers.append(answer)
        return answers

    @asynccontextmanager
    async def subscribed(self, channel: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """Payloads published to ``channel`` from now on.

        Raises ``StoreUnavailable`` when the connection is lost: what was published meanwhile is not told.
        """
        async with self._asking():
            listener = await self._clients.listener()
            pubsub: PubSub = listener.pubsub()
        try:
            try:
                async with self._asking():
                    await _subscribe(pubsub, channel)
            except StoreUnavailable as error:
                self.deaf_to[channel] = str(error)
                raise
            self.deaf_to.pop(channel, None)
            yield _payloads(pubsub)
        finally:
            # Whoever is being cancelled must hear of that, and of nothing that goes wrong while it leaves.
            with suppress(StoreUnavailable), translated():
                await pubsub.aclose()  # type: ignore[no-untyped-call]  # the library leaves it untyped
                await listener.aclose(close_connection_pool=True)

    async def _pipelined(self, commands: Sequence[Command]) -> list[Any]:
        pipeline = self._clients.client.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        # The library's own way of raising puts the command, hence what is stored, into the message.
        answers: list[Any] = await pipeline.execute(raise_on_error=False)
        return answers

    @asynccontextmanager
    async def _asking(self) -> AsyncIterator[None]:
        async with self._gate:
            with translated():
                try:
                    async with asyncio.timeout(_PATIENCE):
                        yield
                except ReadOnlyError:
                    await self._clients.forget()
                    raise
                except MovedError:
                    await self._clients.follow_slots()
                    raise


async def _subscribe(pubsub: PubSub, channel: str) -> None:
    await pubsub.subscribe(channel)
    # Only once Redis has said so is nothing missed that is published after a later read.
    if await pubsub.get_message(timeout=CONNECT_SECONDS) is None:
        raise StoreUnavailable("Redis: a subscription is not confirmed in time")


async def _payloads(pubsub: PubSub) -> AsyncIterator[bytes]:
    asked = False
    while True:
        with translated():
            message = await pubsub.get_message(timeout=_SILENCE)
            if message is None:
                if asked:
                    raise StoreUnavailable("Redis: a subscription went silent")
                await pubsub.ping()
            asked = message is None
        if message is not None and message.get("type") == "message":
            yield message["data"]
