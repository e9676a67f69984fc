"""The border to the Redis library: whoever is cancelled ends, whatever the library says at that moment."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from typing import cast

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from redis.asyncio.client import PubSub

from ff_proxy.errors import StoreUnavailable
from ff_proxy.model.redis import Topology
from ff_proxy.store.redis import Endpoint
from ff_proxy.store.redis.clients import Clients
from ff_proxy.store.redis.connection import Call, Connection, Script
from ff_proxy.store.redis.errors import translated
from tests.support.foreign_errors import FOREIGN, made


@pytest.fixture
async def connection() -> AsyncIterator[Connection]:
    """To a Redis that nothing is sent to."""
    made = Connection(Clients(Endpoint(Topology.SINGLE, (("127.0.0.1", 1),))))
    yield made
    await made.close()


async def test_a_watcher_that_leaves_hears_of_nothing_else(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that retries for ever would never end: it would take the trouble of leaving for the store's."""

    async def subscribe(_: PubSub, *channels: str) -> None:
        assert channels == ("notices",)

    confirmed = iter([{"type": "subscribe"}])

    async def confirmation(_: PubSub, **how: object) -> object:
        del how
        return next(confirmed, None) or await asyncio.Event().wait()

    async def stuck(_: PubSub) -> None:
        raise TimeoutError("Timed out closing connection")

    monkeypatch.setattr(PubSub, "subscribe", subscribe)
    monkeypatch.setattr(PubSub, "get_message", confirmation)
    monkeypatch.setattr(PubSub, "aclose", stuck)
    watching = asyncio.Event()

    async def watch() -> None:
        async with connection.subscribed("notices") as payloads:
            watching.set()
            async for _ in payloads:
                pass

    task = asyncio.create_task(watch())
    await watching.wait()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("error", [None, ConnectionError("gone")])
async def test_a_cancellation_that_the_library_misses(error: Exception | None) -> None:
    """It answers, or fails, as if nothing had happened; who asks again and again ends all the same."""
    asking = asyncio.Event()
    turns = 0

    async def deaf() -> None:
        asking.set()
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)
        if error is not None:
            raise error

    async def ask_for_ever() -> None:
        nonlocal turns
        while True:
            turns += 1
            with suppress(StoreUnavailable), translated():
                await deaf()

    task = asyncio.create_task(ask_for_ever())
    await asking.wait()
    task.cancel()
    done, _ = await asyncio.wait([task], timeout=5)
    assert done, f"still asking after {turns} turns"
    assert task.cancelled()


async def test_a_time_limit_that_the_library_misses() -> None:
    """Is a time limit all the same, and no cancellation of the task."""

    async def ask() -> None:
        async with asyncio.timeout(0.01):
            with translated(), suppress(asyncio.CancelledError):
                await asyncio.sleep(3600)

    with pytest.raises(TimeoutError):
        await ask()
    await asyncio.sleep(0)


def test_a_connection_that_ends_between_two_steps() -> None:
    """The event loop's complaint is one more connection error; another mistake is told by its type."""
    with pytest.raises(StoreUnavailable, match="closed"), translated():
        raise RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed")
    with pytest.raises(StoreUnavailable, match="closed"), translated():
        raise AttributeError("'NoneType' object has no attribute 'writelines'")
    with pytest.raises(StoreUnavailable, match="AttributeError"), translated():
        raise AttributeError("'Keys' object has no attribute 'sceret'")


class _Scripted:
    """A client of the library whose every operation fails with one error."""

    def __init__(self, error: BaseException, where: str, *, clustered: bool = False) -> None:
        self.error = error
        self.clustered = clustered
        self.doubted: set[str] = set()
        self._where = where

    async def ensure_slots(self) -> None:
        self.fail("ensure_slots")

    def node(self, key: str) -> str:
        return key if self.clustered else ""

    def of_node(self, node: str) -> "_Scripted":
        assert bool(node) == self.clustered
        return self

    def mark_unresponsive(self, node: str) -> None:
        self.doubted.add(node)

    def mark_responsive(self, node: str) -> None:
        self.doubted.discard(node)

    def is_unresponsive(self, node: str) -> bool:
        return node in self.doubted

    async def execute_command(self, *command: object) -> object:
        self.fail("command")
        return command and b"1"

    def pipeline(self, *, transaction: bool) -> "_Pipeline":
        assert not transaction
        self.fail("pipeline")
        return _Pipeline(self)

    async def initialize(self) -> None:
        self.fail("initialize")

    async def listener(self) -> "_Scripted":
        self.fail("listener")
        return self

    def pubsub(self) -> "_Scripted":
        self.fail("pubsub")
        return self

    async def subscribe(self, *_: str) -> None:
        self.fail("subscribe")

    async def get_message(self, *, timeout: float) -> object:  # noqa: ASYNC109  (the library's name)
        assert timeout > 0
        self.fail("get_message")
        return {"type": "subscribe"}

    async def forget(self) -> None:
        self.fail("forget")

    async def close(self) -> None:
        self.fail("close")

    async def aclose(self, **_: object) -> None:
        self.fail("aclose")

    @property
    def client(self) -> "_Scripted":
        return self

    def fail(self, operation: str) -> None:
        if operation == self._where:
            raise self.error


class _Pipeline:
    """Of such a client; commands are only collected."""

    def __init__(self, client: _Scripted) -> None:
        self._client = client

    def execute_command(self, *command: object) -> None:
        assert command

    async def execute(self, *, raise_on_error: bool) -> list[object]:
        assert not raise_on_error
        self._client.fail("execute")
        return [self._client.error]


async def _listen(connection: Connection) -> None:
    async with connection.subscribed("notices") as payloads:
        async for _ in payloads:
            pass


_OPERATIONS: Mapping[str, Callable[[Connection], Awaitable[object]]] = {
    "do": lambda connection: connection.do("GET", "a"),
    "run": lambda connection: connection.run(Script("return 1"), ["a"], []),
    "each": lambda connection: connection.each([("GET", "a"), ("GET", "b")]),
    "each script": lambda connection: connection.each([Call(Script("return 1"), [key]) for key in "ab"]),
    "subscribed": _listen,
}
_PLACES = {
    "do": ("command", "ensure_slots"),
    "run": ("command",),
    "each": ("pipeline", "execute", "answers"),
    "each script": ("pipeline", "execute", "answers"),
    "subscribed": ("listener", "pubsub", "subscribe", "get_message"),
}
_CASES = [(operation, place) for operation, places in _PLACES.items() for place in places]


@pytest.mark.parametrize("case", _CASES, ids="-".join)
@given(kind=st.sampled_from(FOREIGN), clustered=st.booleans())
@settings(max_examples=25, deadline=None)
def test_no_operation_raises_what_is_not_ours(
    case: tuple[str, str], kind: type[BaseException], *, clustered: bool
) -> None:
    """Whatever the library raises, and wherever: the caller hears of a store that does not answer."""
    operation, place = case
    error = made(kind)
    assume(error is not None and not isinstance(error, StopIteration | StopAsyncIteration))
    assert error is not None
    connection = Connection(cast("Clients", _Scripted(error, place, clustered=clustered)))

    async def call() -> None:
        with pytest.raises(StoreUnavailable):
            await _OPERATIONS[operation](connection)
        await connection.close()

    asyncio.run(call())


@given(kind=st.sampled_from(FOREIGN))
@settings(max_examples=25, deadline=None)
def test_a_connection_that_cannot_be_closed_is_closed(kind: type[BaseException]) -> None:
    """Nobody can do anything about it."""
    error = made(kind)
    assume(error is not None)
    assert error is not None
    asyncio.run(Connection(cast("Clients", _Scripted(error, "close"))).close())
