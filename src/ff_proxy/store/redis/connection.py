"""The connection to Redis: with timeouts, limited concurrency, and translated errors."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, Final, TypeVar

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.client import PubSub
from redis.exceptions import MovedError, NoScriptError, ReadOnlyError

from ff_proxy.errors import StoreUnavailable
from ff_proxy.store.redis.clients import CONNECT_SECONDS, Clients
from ff_proxy.store.redis.errors import translated

# The total time for connecting, waiting for the reply and following a moved slot.
_PATIENCE: Final = 6.0
# What a client of a Cluster may take to find out which of its nodes answer.
_CLUSTER_PATIENCE: Final = 12.0
# More calls wait here instead of opening connections.
_AT_ONCE: Final = 32
# Redis serves others between two batches.
_BATCH: Final = 256
# A subscription that has been silent for this long is pinged.
_SILENCE: Final = 5.0

# How long the others are waited for once a node of a Cluster has answered.
_OTHERS_SECONDS: Final = 0.5
# Their slots lie evenly spread.
_TAGS: Final = ("342", "76", "358", "181", "357", "120", "308", "26", "53")

_Asked = TypeVar("_Asked")
_Answer = TypeVar("_Answer")
_Work = Callable[[Redis | RedisCluster], Awaitable[Any]]
Argument = str | bytes | int | float
Command = Sequence[Argument]


class Script:
    """A Lua script: sent once, then called by its hash."""

    def __init__(self, source: str) -> None:
        self.source: Final = source
        self.sha: Final = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()


_PUBLISH: Final = Script("return redis.call('PUBLISH', ARGV[1], ARGV[2])")


class Connection:
    """The connections of ``clients`` to one Redis; closed by ``close``.

    Every call ends within ``_PATIENCE`` seconds of its turn, and raises only ``StoreUnavailable``.
    """

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        # A node of a Cluster that does not answer must not delay calls to other nodes.
        self._gates: dict[str, asyncio.Semaphore] = {}
        self._calls: set[asyncio.Task[Any]] = set()
        # Channels whose last subscription failed, and why.
        self.deaf_to: dict[str, str] = {}

    async def close(self) -> None:
        """Close every connection."""
        for call in self._calls:
            call.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)
        # Errors while closing a connection are irrelevant.
        with suppress(StoreUnavailable), translated():
            await self._clients.close()

    @property
    def _patience(self) -> float:
        return _CLUSTER_PATIENCE if self._clients.clustered else _PATIENCE

    def group(self, key: str) -> str:
        """The node of a Cluster that a key is on, empty for a single Redis.

        What is asked at once, of one node, has one fate; nodes do not wait for each other.
        """
        return self._clients.node(key)

    def copies(self, name: str) -> Sequence[str]:
        """Where something is kept that every member needs: spread over a Cluster, so that some are there.

        Those on nodes that do not answer are left out if there are others.
        """
        if not self._clients.clustered:
            return (name,)
        copies = (name, *(f"{name}:{{{tag}}}" for tag in _TAGS))
        return [copy for copy in copies if not self._clients.is_doubted(self.group(copy))] or copies

    async def do(self, *command: Argument) -> Any:
        """One command; bytes in, bytes out."""

        async def ask(client: Redis | RedisCluster) -> Any:
            return await client.execute_command(*command)

        return await self._ask(str(command[1]) if len(command) > 1 else "", ask)

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument]) -> Any:
        """A script over keys of one environment."""
        rest = (len(keys), *keys, *arguments)

        async def ask(client: Redis | RedisCluster) -> Any:
            try:
                call: Awaitable[Any] = client.execute_command("EVALSHA", script.sha, *rest)
                return await call
            except NoScriptError:
                again: Awaitable[Any] = client.execute_command("EVAL", script.source, *rest)
                return await again

        return await self._ask(keys[0], ask)

    async def publish(self, channel: str, payload: str, near: str) -> None:
        """Publish; of a Cluster the node does it that has the key ``near``, and all hear of it."""
        await self.run(_PUBLISH, [near], [channel, payload])

    async def each(self, commands: Sequence[Command]) -> list[Any]:
        """Several commands on keys of one group in few round trips, answers in order.

        The first error is raised.
        """
        if len(commands) == 1:
            return [await self.do(*commands[0])]  # a pipeline of one costs more
        answers: list[Any] = []
        for start in range(0, len(commands), _BATCH):
            some = commands[start : start + _BATCH]
            answers += await self._ask(str(some[0][1]), partial(_pipelined, some))
        return answers

    async def run_each(
        self, script: Script, calls: Sequence[tuple[Sequence[str], Sequence[Argument]]]
    ) -> list[Any]:
        """Call a script several times, as ``each``; the script must be idempotent."""
        if len(calls) == 1:
            return [await self.run(script, *calls[0])]
        answers: list[Any] = []
        for start in range(0, len(calls), _BATCH):
            some = [(len(keys), *keys, *arguments) for keys, arguments in calls[start : start + _BATCH]]

            async def ask(client: Redis | RedisCluster, some: Sequence[Command] = some) -> list[Any]:
                try:
                    return await _pipelined([("EVALSHA", script.sha, *rest) for rest in some], client)
                except NoScriptError:
                    return await _pipelined([("EVAL", script.source, *rest) for rest in some], client)

            answers += await self._ask(calls[start][0][0], ask)
        return answers

    async def settle_each(self, commands: Sequence[Command]) -> list[Any]:
        """As ``each``, of any keys: a ``StoreUnavailable`` in the place of each answer that is not there.

        Raises ``StoreUnavailable`` if none is.
        """
        return await self._settle(commands, lambda command: str(command[1]), self.each)

    async def settle_run_each(
        self, script: Script, calls: Sequence[tuple[Sequence[str], Sequence[Argument]]]
    ) -> list[Any]:
        """As ``run_each``, of any keys, with errors as ``settle_each``."""
        return await self._settle(calls, lambda call: call[0][0], lambda some: self.run_each(script, some))

    async def _settle(
        self,
        asked: Sequence[_Asked],
        key: Callable[[_Asked], str],
        ask: Callable[[Sequence[_Asked]], Awaitable[list[Any]]],
    ) -> list[Any]:
        groups: dict[str, list[int]] = {}
        if self._clients.clustered and asked:
            with translated():
                await self._clients.know_slots()
        for place, one in enumerate(asked):
            groups.setdefault(self.group(key(one)), []).append(place)
        answers: list[Any] = [StoreUnavailable("Redis: no answer in time")] * len(asked)

        async def settle(places: Sequence[int]) -> bool:
            found: Sequence[Any]
            try:
                found = await ask([asked[place] for place in places])
            except StoreUnavailable as error:
                found = [error] * len(places)
            for place, answer in zip(places, found, strict=True):
                answers[place] = answer
            return not isinstance(found[0], StoreUnavailable)

        await soon(map(settle, groups.values()), lambda answered: answered)
        if answers and all(isinstance(answer, StoreUnavailable) for answer in answers):
            raise answers[0]
        return answers

    @asynccontextmanager
    async def subscribed(self, channel: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """Subscribe to ``channel``.

        Raises ``StoreUnavailable`` when the connection is lost, since messages may be missed.
        """
        async with self._asking(""):
            listener = await self._clients.listener()
            pubsub: PubSub = listener.pubsub()
        try:
            try:
                async with self._asking(""):
                    await _subscribe(pubsub, channel)
            except StoreUnavailable as error:
                self.deaf_to[channel] = str(error)
                raise
            self.deaf_to.pop(channel, None)
            yield _payloads(pubsub)
        finally:
            # A cancellation must not be replaced by an error while leaving.
            with suppress(StoreUnavailable), translated():
                await pubsub.aclose()  # type: ignore[no-untyped-call]  # the library leaves it untyped
                await listener.aclose(close_connection_pool=True)

    async def _ask(self, key: str, work: _Work) -> Any:
        if not self._clients.clustered:
            return await self._bounded(key, work)
        # A call that is cancelled while the client finds out about its nodes takes everybody's connections
        # along. So it goes on by itself, to its own bound.
        call = asyncio.create_task(self._bounded(key, work))
        self._calls.add(call)
        call.add_done_callback(self._done)
        with translated():
            async with asyncio.timeout(_PATIENCE):
                return await asyncio.shield(call)

    async def _bounded(self, key: str, work: _Work) -> Any:
        with translated():
            await self._clients.know_slots()
        node = self.group(key)
        try:
            async with self._asking(node):
                answer = await work(self._clients.of_node(node))
        except StoreUnavailable:
            self._clients.doubt(node)
            raise
        self._clients.trust(node)
        return answer

    def _done(self, call: asyncio.Task[Any]) -> None:
        self._calls.discard(call)
        if not call.cancelled():
            call.exception()  # the caller may have left

    @asynccontextmanager
    async def _asking(self, node: str) -> AsyncIterator[None]:
        async with self._gates.setdefault(node, asyncio.Semaphore(_AT_ONCE)):
            with translated():
                try:
                    async with asyncio.timeout(self._patience):
                        yield
                except ReadOnlyError:
                    await self._clients.forget()
                    raise
                except MovedError:
                    await self._clients.follow_slots()
                    raise


async def soon(
    asked: Iterable[Awaitable[_Answer]], good: Callable[[_Answer], bool]
) -> list[_Answer | BaseException]:
    """What is answered until ``_OTHERS_SECONDS`` after the first ``good`` answer; the others are let go."""
    tasks = [asyncio.ensure_future(one) for one in asked]
    waiting = set(tasks)
    answers: list[_Answer | BaseException] = []
    answered = False
    try:
        while waiting:
            patience = _OTHERS_SECONDS if answered else None
            done, waiting = await asyncio.wait(waiting, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                break
            for task in done:
                error = task.exception()
                answers.append(task.result() if error is None else error)
                answered = answered or (error is None and good(task.result()))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return answers


async def _pipelined(commands: Sequence[Command], client: Redis | RedisCluster) -> list[Any]:
    pipeline = client.pipeline(transaction=False)
    for command in commands:
        pipeline.execute_command(*command)
    # The library would put the command, and so the stored data, into the message.
    answers: list[Any] = await pipeline.execute(raise_on_error=False)
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers


async def _subscribe(pubsub: PubSub, channel: str) -> None:
    await pubsub.subscribe(channel)
    # Only after the confirmation is nothing missed that is published after a later read.
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
