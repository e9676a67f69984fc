"""Redis silent, dead, emptied: nobody is refused, no stream ends, and all that was missed is made up for."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from tests.support.fleet import TICK, Fleet, fleet
from tests.support.load import POSTED, Load, Mortal
from tests.support.redis_server import RedisServer, redis_server
from tests.support.sdk_like import DEV, KEYS, SdkLike, eventually
from tests.support.streams import StreamClient

# A lease lasts 6 seconds: after a silence that is longer, everything a lease stands for has to begin anew.
SILENCE = 6.5
# A subscription ends at once with its Redis, and is tried again every 5 seconds.
OUTAGE = 5.5


class Listeners:
    """One SDK's stream at each member, open all the time; no event may take it back."""

    def __init__(self, streams: list[StreamClient], clients: list[SdkLike]) -> None:
        self._heard = [0] * len(streams)
        self._clients = clients
        self._changed = asyncio.Condition()
        self.tasks = [asyncio.create_task(self._listen(at, stream)) for at, stream in enumerate(streams)]

    async def until_heard(self, number: int) -> None:
        """Wait until each was told of that value of the ticker's flag; a stream that ends fails the test."""
        async with self._changed:
            await self._changed.wait_for(
                lambda: min(self._heard) >= number or any(task.done() for task in self.tasks)
            )
        for task in self.tasks:
            if task.done():
                task.result()

    async def _listen(self, at: int, stream: StreamClient) -> None:
        version = 0
        while True:
            event = await stream.event()
            if event["identifier"] != TICK:
                continue
            assert event["version"] > version, f"{event['version']} after {version}"
            version = event["version"]
            value = int(await self._clients[at].value(TICK))
            assert value >= self._heard[at]
            async with self._changed:
                self._heard[at] = value
                self._changed.notify_all()


@asynccontextmanager
async def used(running: Fleet) -> AsyncIterator[tuple[Load, Listeners]]:
    """A fleet under load with a stream at each member; the load fails the test if anybody is refused."""
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(SdkLike.connected(proxy.url, KEYS[DEV]))
            for proxy in running.members
        ]
        streams = [await stack.enter_async_context(client.stream()) for client in clients]
        listeners = Listeners(streams, clients)
        load = Load([Mortal(proxy) for proxy in running.members], seed=2, shared=False)
        try:
            async with load.running():
                yield load, listeners
        finally:
            for task in listeners.tasks:
                task.cancel()
            await asyncio.gather(*listeners.tasks, return_exceptions=True)


async def silent(redis: RedisServer) -> None:
    """Stopped with SIGSTOP: it holds its connections and says nothing; then it goes on as it was."""
    redis.pause(on=True)
    await asyncio.sleep(SILENCE)
    redis.pause(on=False)


async def dead(redis: RedisServer) -> None:
    """Killed, and started anew with nothing in it."""
    redis.stop()
    await asyncio.sleep(OUTAGE)
    redis.start()


@pytest.mark.timeout(90)
@pytest.mark.parametrize("outage", [silent, dead])
async def test_nobody_notices(tmp_path: Path, outage: Callable[[RedisServer], Awaitable[None]]) -> None:
    """Reads, targets known and new, streams, usage: all go on, and a flip made meanwhile arrives.

    The outage is as short as the paths that it has to go through allow: 6.5 seconds of silence, after which
    leases have run out; 5.5 seconds without a Redis, after which subscriptions have been tried again. A
    minute takes no other path.
    """
    with redis_server(tmp_path / "redis") as redis:
        async with fleet(tmp_path, f"127.0.0.1:{redis.port}") as running:
            async with used(running) as (load, listeners):
                await listeners.until_heard(running.ticker.tick())
                told = load.answers
                running.ticker.tick()
                await outage(redis)
                assert load.answers > told + 20, "they were answered meanwhile"
                async with asyncio.timeout(30):
                    await listeners.until_heard(running.ticker.tick())
                known = list(load.targets)
            assert load.wrong == []
            for proxy in running.members:
                async with SdkLike.connected(proxy.url, KEYS[DEV]) as client:
                    for target in known[:: len(known) // 20]:
                        assert "EUR" in await client.value("price_display", target)
            sent = len(load.posts)
            await eventually(lambda: _arrived(running, sent), 20)
            assert _counted(running) == sent
    for proxy in running.members:
        said = proxy.log.read_text()
        for event in ("store unavailable, serving what is loaded", "lease not renewed", "lease not taken"):
            assert said.count(event) <= 1, event


def _counted(running: Fleet) -> int:
    return sum(entry.count for entry in running.saas.usage.sums() if entry.flag == POSTED)


async def _arrived(running: Fleet, count: int) -> bool:
    return _counted(running) >= count
