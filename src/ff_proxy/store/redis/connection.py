"""The connection to Redis: with timeouts, limited concurrency, and translated errors."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, Final, NamedTuple, TypeVar

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.client import PubSub
from redis.exceptions import MovedError, NoScriptError, ReadOnlyError, ResponseError

from ff_proxy.aio.waits import retrieve
from ff_proxy.errors import StoreUnavailable
from ff_proxy.store.redis.clients import CONNECT_SECONDS, Clients
from ff_proxy.store.redis.errors import translated

# For connecting, waiting for the reply and following a moved slot together.
_TIMEOUT_SECONDS: Final = 6.0
# A Cluster client may need this long to find out which nodes answer.
_CLUSTER_TIMEOUT_SECONDS: Final = 12.0
# More calls wait here instead of opening connections.
_MAX_CONCURRENT: Final = 32
# So many idle connections stay open, and twice as many as were lately needed at a time.
_FEW: Final = 8
_IDLE_SECONDS: Final = 30.0
# Redis serves others between two batches.
_BATCH: Final = 256
# A subscription that has been silent for this long is pinged.
_PING_AFTER_SECONDS: Final = 5.0

# How long to wait for the other nodes of a Cluster once one has answered.
_OTHERS_SECONDS: Final = 0.5
# Hash tags whose slots are evenly spread.
_TAGS: Final = ("342", "76", "358", "181", "357", "120", "308", "26", "53")

# Parts of errors that a key of another type, or (in scripts) with other content, causes.
_ABOUT_KEYS: Final = ("WRONGTYPE", "attempt to", "not an integer", "not a valid float", "bad argument")

_Answer = TypeVar("_Answer")
_Work = Callable[[Redis | RedisCluster], Awaitable[Any]]
Argument = str | bytes | int | float
Command = Sequence[Argument]


class Script:
    """A Lua script: sent once, then called by its hash."""

    def __init__(self, source: str) -> None:
        self.source: Final = source
        self.sha: Final = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()


class Call(NamedTuple):
    """A script with its keys and arguments."""

    script: Script
    keys: Sequence[str]
    arguments: Sequence[Argument] = ()


_PUBLISH: Final = Script("return redis.call('PUBLISH', ARGV[1], ARGV[2])")


class _Demand:
    """How many calls run at a time, and whether many more connections are open than they need.

    The library keeps every connection open that a burst of calls has opened.

    Args:
        window: how many seconds a burst counts as recent.
    """

    def __init__(self, window: float) -> None:
        self.running = 0
        self._window: Final = window
        self._since = 0.0
        self._recent = 0
        self._open = 0

    def begin(self) -> None:
        """A call begins."""
        self.running += 1
        self._recent = max(self._recent, self.running)
        self._open = max(self._open, self.running)

    def end(self, now: float) -> bool:
        """A call ends: whether it was the last one, and many connections have been idle for a window."""
        self.running -= 1
        if self.running or now - self._since < self._window:
            return False
        excess = self._open > max(_FEW, 2 * self._recent)
        if excess:
            self._open = 0
        self._since, self._recent = now, 0
        return excess


class Connection:
    """The connections of ``clients`` to one Redis; closed by ``close``.

    Every call ends within ``_TIMEOUT_SECONDS`` seconds of its turn, and raises only ``StoreUnavailable``.
    Connections that a burst of calls has opened are closed ``idle_seconds`` to twice as long after it.
    """

    def __init__(self, clients: Clients, idle_seconds: float = _IDLE_SECONDS) -> None:
        self._clients = clients
        self._demand = _Demand(idle_seconds)
        # A node of a Cluster that does not answer must not delay calls to other nodes.
        self._slots: dict[str, asyncio.Semaphore] = {}
        self._calls: set[asyncio.Task[Any]] = set()
        # Channels whose last subscription failed, and why.
        self.failed_channels: dict[str, str] = {}

    async def close(self) -> None:
        """Close every connection."""
        for call in self._calls:
            call.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)
        # Errors while closing a connection are irrelevant.
        with suppress(StoreUnavailable), translated():
            await self._clients.close()

    @property
    def _timeout(self) -> float:
        return _CLUSTER_TIMEOUT_SECONDS if self._clients.clustered else _TIMEOUT_SECONDS

    def group(self, key: str) -> str:
        """The node of a Cluster that a key is on, empty for a single Redis.

        Keys of one group can be asked for together; groups do not wait for each other.
        """
        return self._clients.node(key)

    def copies(self, name: str) -> Sequence[str]:
        """The keys of the copies of ``name``, on several nodes of a Cluster.

        Copies on nodes that do not answer are left out, unless none is left.
        """
        if not self._clients.clustered:
            return (name,)
        copies = (name, *(f"{name}:{{{tag}}}" for tag in _TAGS))
        return [copy for copy in copies if not self._clients.is_unresponsive(self.group(copy))] or copies

    async def do(self, *command: Argument) -> Any:
        """One command; bytes in, bytes out."""
        return (await self.each([command]))[0]

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument]) -> Any:
        """A script over keys of one environment."""
        return (await self.each([Call(script, keys, arguments)]))[0]

    async def publish(self, channel: str, payload: str, near: str) -> None:
        """Publish; in a Cluster on the node of the key ``near``, which forwards it to all."""
        await self.run(_PUBLISH, [near], [channel, payload])

    async def each(self, asked: Sequence[Command | Call]) -> list[Any]:
        """Several commands or idempotent scripts on keys of one group, in few round trips.

        Returns the answers in order, or raises the first error.
        """
        answers = await self.try_each(asked)
        for answer in answers:
            if isinstance(answer, StoreUnavailable):
                raise answer
        return answers

    async def try_each(self, asked: Sequence[Command | Call]) -> list[Any]:
        """As ``each``, but errors that concern single keys are returned in the place of their answers.

        Keys of another type or with other content cause these.
        """
        answers: list[Any] = []
        for start in range(0, len(asked), _BATCH):
            some = asked[start : start + _BATCH]
            answers += await self._execute(_key(some[0]), partial(_send, some))
        return [_ours(answer) for answer in answers]

    async def settle_each(self, asked: Sequence[Command | Call]) -> list[Any]:
        """As ``each``, on keys of any group; a ``StoreUnavailable`` in the place of each missing answer.

        Raises ``StoreUnavailable`` if all are missing.
        """
        groups: dict[str, list[int]] = {}
        if self._clients.clustered and asked:
            with translated():
                await self._clients.ensure_slots()
        for place, one in enumerate(asked):
            groups.setdefault(self.group(_key(one)), []).append(place)
        answers: list[Any] = [StoreUnavailable("Redis: no answer in time")] * len(asked)

        async def settle(places: Sequence[int]) -> bool:
            found: Sequence[Any]
            try:
                found = await self.try_each([asked[place] for place in places])
            except StoreUnavailable as error:
                found = [error] * len(places)
            for place, answer in zip(places, found, strict=True):
                answers[place] = answer
            return not all(isinstance(answer, StoreUnavailable) for answer in found)

        await first_answers(map(settle, groups.values()), lambda answered: answered)
        if answers and all(isinstance(answer, StoreUnavailable) for answer in answers):
            raise answers[0]
        return answers

    @asynccontextmanager
    async def subscribed(self, channel: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """Subscribe to ``channel``.

        Raises ``StoreUnavailable`` when the connection is lost, since messages may be missed.
        """
        async with self._slot(""):
            listener = await self._clients.listener()
            pubsub: PubSub = listener.pubsub()
        try:
            try:
                async with self._slot(""):
                    await _subscribe(pubsub, channel)
            except StoreUnavailable as error:
                self.failed_channels[channel] = str(error)
                raise
            self.failed_channels.pop(channel, None)
            yield _messages(pubsub)
        finally:
            # An error here must not replace a cancellation.
            with suppress(StoreUnavailable), translated():
                await pubsub.aclose()  # type: ignore[no-untyped-call]  # the library leaves it untyped
                await listener.aclose(close_connection_pool=True)

    async def _execute(self, key: str, work: _Work) -> Any:
        if not self._clients.clustered:
            return await self._execute_on_node(key, work)
        # Cancelling a call while the client discovers its nodes closes the connections of all calls. So the
        # call continues in a task of its own, until its own timeout.
        call = asyncio.create_task(self._execute_on_node(key, work))
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)
        call.add_done_callback(retrieve)
        with translated():
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                return await asyncio.shield(call)

    async def _execute_on_node(self, key: str, work: _Work) -> Any:
        with translated():
            await self._clients.ensure_slots()
        node = self.group(key)
        try:
            async with self._slot(node):
                answer = await work(self._clients.of_node(node))
        except StoreUnavailable:
            self._clients.mark_unresponsive(node)
            raise
        self._clients.mark_responsive(node)
        return answer

    @asynccontextmanager
    async def _slot(self, node: str) -> AsyncIterator[None]:
        async with self._slots.setdefault(node, asyncio.Semaphore(_MAX_CONCURRENT)):
            self._demand.begin()
            try:
                async with self._ends_in_time():
                    yield
            finally:
                if self._demand.end(asyncio.get_running_loop().time()):
                    self._clients.replace_idle()

    @asynccontextmanager
    async def _ends_in_time(self) -> AsyncIterator[None]:
        with translated():
            try:
                async with asyncio.timeout(self._timeout):
                    yield
            except ReadOnlyError:
                await self._clients.forget()
                raise
            except MovedError:
                await self._clients.follow_slots()
                raise


async def first_answers(
    asked: Iterable[Awaitable[_Answer]], good: Callable[[_Answer], bool]
) -> list[_Answer | BaseException]:
    """The answers until ``_OTHERS_SECONDS`` after the first ``good`` one; the rest is cancelled."""
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


def _ours(answer: Any) -> Any:
    if not isinstance(answer, Exception) or isinstance(answer, StoreUnavailable):
        return answer
    try:
        with translated():
            raise answer
    except StoreUnavailable as error:
        return error


def _key(asked: Command | Call) -> str:
    if isinstance(asked, Call):
        return asked.keys[0]
    return str(asked[1]) if len(asked) > 1 else ""


async def _send(asked: Sequence[Command | Call], client: Redis | RedisCluster) -> list[Any]:
    try:
        return await _sent([_command(one, by_hash=True) for one in asked], client)
    except NoScriptError:
        return await _sent([_command(one, by_hash=False) for one in asked], client)


def _command(asked: Command | Call, *, by_hash: bool) -> Command:
    if not isinstance(asked, Call):
        return asked
    script, keys, arguments = asked
    name, text = ("EVALSHA", script.sha) if by_hash else ("EVAL", script.source)
    return (name, text, len(keys), *keys, *arguments)


async def _sent(commands: Sequence[Command], client: Redis | RedisCluster) -> list[Any]:
    """The answers; an error among them is about the keys of its command only."""
    if len(commands) == 1:
        try:
            return [await client.execute_command(*commands[0])]  # a pipeline of one costs more
        except ResponseError as error:
            if not _is_about_keys(error):
                raise
            return [error]
    pipeline = client.pipeline(transaction=False)
    for command in commands:
        pipeline.execute_command(*command)
    # The library would put the command, and so the stored data, into the message.
    answers: list[Any] = await pipeline.execute(raise_on_error=False)
    for answer in answers:
        if isinstance(answer, Exception) and not _is_about_keys(answer):
            raise answer
    return answers


def _is_about_keys(error: Exception) -> bool:
    # The library has classes for what concerns a server, a connection or a user.
    return type(error) is ResponseError and any(mark in str(error) for mark in _ABOUT_KEYS)


async def _subscribe(pubsub: PubSub, channel: str) -> None:
    await pubsub.subscribe(channel)
    # Only after the confirmation is nothing missed that is published after a later read.
    if await pubsub.get_message(timeout=CONNECT_SECONDS) is None:
        raise StoreUnavailable("Redis: a subscription is not confirmed in time")


async def _messages(pubsub: PubSub) -> AsyncIterator[bytes]:
    asked = False
    while True:
        with translated():
            message = await pubsub.get_message(timeout=_PING_AFTER_SECONDS)
            if message is None:
                if asked:
                    raise StoreUnavailable("Redis: a subscription went silent")
                await pubsub.ping()
            asked = message is None
        if message is not None and message.get("type") == "message":
            yield message["data"]
