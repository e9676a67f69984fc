"""People who use a fleet without a pause, while its members come and go."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final, Protocol

import httpx2

from tests.integration.harness import Proxy
from tests.support.fleet import TICK, WAYS, Witness
from tests.support.sdk_like import DEV, KEYS, SdkLike
from tests.support.streams import StreamClient

POSTED: Final = "posted"
_PAUSE: Final = 0.02
_TURN_PAUSE: Final = 0.2
"""Seconds between the turns of one user: members and users would fill the processors otherwise."""


class Served(Protocol):
    """Whoever serves users: a member, or what stands before several.

    ``life`` tells what its users may hold against it: what happens within one and the same (0: none).
    """

    @property
    def url(self) -> str:
        """Where to."""
        ...

    @property
    def life(self) -> int:
        """Which of its lives this is."""
        ...


class Mortal:
    """A member that is killed and started again; see ``Served``."""

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        self.life = 1
        self._lives = 1

    @property
    def url(self) -> str:
        """Where it serves."""
        return self.proxy.url

    async def die(self) -> None:
        """``kill -9``."""
        self.life = 0
        await self.proxy.kill()

    async def leave(self) -> None:
        """End in order."""
        self.life = 0
        await self.proxy.stop()

    async def rise(self) -> None:
        """Start again, until it is ready."""
        await self.proxy.start()
        self._lives += 1
        self.life = self._lives


class Load:
    """Reads in every way, evaluates targets described before, posts usage.

    Args:
        members: everybody who serves.
        seed: of its choices.
        shared: what one member was told has to be known at the others at once; without it, because the store
            that they share is away now and then, only at that member.
        keep_alive: without it every request is a connection, which may be torn: members are several
            processes, of which one or the other is killed. What is answered has to be right all the same.

    Attributes:
        targets: identifiers of targets that members have taken in, all of them in Germany.
        tried: how many posts were sent, answered or not.
        posts: when a post was taken, and by which member.
        answers: how many requests were answered.
    """

    def __init__(
        self, members: Sequence[Served], seed: int, *, shared: bool = True, keep_alive: bool = True
    ) -> None:
        together = Witness()
        self._witnesses = {member: together if shared else Witness() for member in members}
        known: list[str] = []
        self._known = {member: known if shared else [] for member in members}
        self.targets: list[str] = []
        self.tried = 0
        self.posts: list[tuple[float, Served]] = []
        self.answers = 0
        self._members = members
        self._keep_alive = keep_alive
        self._chance = random.Random(seed)
        self._over = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """For as long as the context lasts; a wrong answer to anybody is raised here."""
        tasks = [asyncio.create_task(self._use(member)) for member in self._members]
        try:
            yield
            # In the middle of a post nobody could say whether it counts.
            self._over = True
            async with asyncio.timeout(20):
                await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def wrong(self) -> list[str]:
        """Answers that were older than what somebody had been told before."""
        return [wrong for witness in {*self._witnesses.values()} for wrong in witness.wrong]

    async def _use(self, member: Served) -> None:
        while not self._over:
            life = member.life
            try:
                async with SdkLike.connected(member.url, KEYS[DEV], keep_alive=self._keep_alive) as client:
                    while not self._over:
                        await self._turn(member, client)
                        await asyncio.sleep(_TURN_PAUSE)
            except (httpx2.TransportError, AssertionError) as error:
                torn = isinstance(error, httpx2.TransportError) and not self._keep_alive
                if life and life == member.life and not torn:
                    raise
            await asyncio.sleep(_PAUSE)

    async def _turn(self, member: Served, client: SdkLike) -> None:
        for way in WAYS:
            await self._witnesses[member].read(client, way)
        newcomer = f"newcomer-{self._chance.getrandbits(64):x}"
        await client.authenticate({"identifier": newcomer, "attributes": {"country": "DE"}})
        self.targets.append(newcomer)
        self._known[member].append(newcomer)
        known = self._chance.choice(self._known[member])
        assert "EUR" in await client.value("price_display", known), f"{known} is not known at {client.url}"
        self.tried += 1
        answer = await client.post_usage(POSTED, 1)
        assert answer.status_code == 200
        self.posts.append((time.monotonic(), member))
        self.answers += len(WAYS) + 3

    async def seen_by_all(self, number: int) -> None:
        """Wait until every member serves that value of the ticker's flag; the caller bounds it."""
        for member in self._members:
            async with SdkLike.connected(member.url, KEYS[DEV]) as client:
                while await WAYS["by id"](client) < number:  # noqa: ASYNC110  (another process tells nobody)
                    await asyncio.sleep(_PAUSE)


class Listeners:
    """One SDK's stream at each member, open all the time; no event may take it back."""

    def __init__(self, streams: Mapping[Proxy, tuple[SdkLike, StreamClient]]) -> None:
        self._heard = dict.fromkeys(streams, 0)
        self._changed = asyncio.Condition()
        self.tasks = [
            asyncio.create_task(self._listen(proxy, client, stream))
            for proxy, (client, stream) in streams.items()
        ]

    async def until_heard(self, number: int, *proxies: Proxy) -> None:
        """Wait until each (of ``proxies``, if any are given) was told of that value of the ticker's flag.

        A stream that ends fails the test; the caller bounds the wait.
        """
        waiting = asyncio.create_task(self._until_heard(number, proxies or tuple(self._heard)))
        try:
            await asyncio.wait([waiting, *self.tasks], return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        for task in self.tasks:
            if task.done():
                task.result()

    async def _until_heard(self, number: int, proxies: Sequence[Proxy]) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: min(self._heard[proxy] for proxy in proxies) >= number)

    async def _listen(self, proxy: Proxy, client: SdkLike, stream: StreamClient) -> None:
        version = 0
        while True:
            event = await stream.event()
            if event["identifier"] != TICK:
                continue
            assert event["version"] > version, f"{event['version']} after {version}"
            version = event["version"]
            value = int(await client.value(TICK))
            assert value >= self._heard[proxy], f"{value} after {self._heard[proxy]}"
            async with self._changed:
                self._heard[proxy] = value
                self._changed.notify_all()


@asynccontextmanager
async def used(members: Sequence[Proxy], seed: int, *, shared: bool) -> AsyncIterator[tuple[Load, Listeners]]:
    """Members under load (see ``Load``), and a stream at each; whoever is refused anything fails the test."""
    async with AsyncExitStack() as stack:
        streams = {}
        for proxy in members:
            client = await stack.enter_async_context(SdkLike.connected(proxy.url, KEYS[DEV]))
            streams[proxy] = (client, await stack.enter_async_context(client.stream()))
        listeners = Listeners(streams)
        load = Load([Mortal(proxy) for proxy in members], seed, shared=shared)
        try:
            async with load.running():
                yield load, listeners
        finally:
            for task in listeners.tasks:
                task.cancel()
            await asyncio.gather(*listeners.tasks, return_exceptions=True)
