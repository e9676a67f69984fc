"""The border to the Redis library: whoever is cancelled ends, whatever the library says at that moment."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from redis.asyncio.client import PubSub

from ff_proxy.errors import StoreUnavailable
from ff_proxy.store.redis import Endpoint, Topology
from ff_proxy.store.redis.connection import Connection
from ff_proxy.store.redis.errors import translated


@pytest.fixture
async def connection() -> AsyncIterator[Connection]:
    """To a Redis that nothing is sent to."""
    made = Connection(Endpoint(Topology.SINGLE, (("127.0.0.1", 1),)))
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
    """The event loop's complaint is one more connection error; other mistakes stay what they are."""
    with pytest.raises(StoreUnavailable, match="closed"), translated():
        raise RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed")
    with pytest.raises(StoreUnavailable, match="closed"), translated():
        raise AttributeError("'NoneType' object has no attribute 'writelines'")
    with pytest.raises(AttributeError), translated():
        raise AttributeError("'Keys' object has no attribute 'sceret'")
    with pytest.raises(RuntimeError, match="bug"), translated():
        raise RuntimeError("a bug")
