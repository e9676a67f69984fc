"""Ten thousand requests of every kind: what the second third has left behind, the last makes no more."""

import asyncio
import base64
import gc
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from itertools import count
from random import Random
from typing import Final

import msgspec
import pytest

from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.memory import MEBIBYTE, shares_of
from ff_proxy.runtime.clock import SystemClock
from ff_proxy.store.memory.queues import MemoryUsageQueue
from ff_proxy.store.protocol import PutItem
from ff_proxy.telemetry import null_telemetry
from ff_proxy.usage.intake import UsageIntake
from tests.chaos.bad_requests import BadRequests
from tests.support.configs import config, flag, segment
from tests.support.sdk_like import DEV, KEYS
from tests.support.web import Site, connected, message, serving, until

ENVIRONMENT: Final = EnvironmentId(DEV)
KEY: Final = KEYS[DEV]
REQUESTS: Final = 10_000
CHANGED_EVERY: Final = 50
# Small, so that the first third fills every cache.
BUDGET: Final = MEBIBYTE
# Caches of equal size hold more or fewer entries, as these are shorter or longer.
MORE_BYTES: Final = 128 * 1024
MORE_OBJECTS: Final = 600


class Requests:
    """Draws requests that SDKs send; a fifth names somebody or something new."""

    def __init__(self, chance: Random, token: str) -> None:
        self._chance = chance
        self._bearer = {"Authorization": f"Bearer {token}"}
        self._numbers = count()
        self._kinds: tuple[Callable[[], bytes], ...] = (
            self._flags,
            self._segments,
            self._evaluations,
            self._evaluated_as_described,
            self._authentication,
            self._wrong_key,
            self._usage,
            self._ofrep,
            self._health,
            self._preflight,
        )

    def draw(self) -> bytes:
        """The next one."""
        return self._chance.choice(self._kinds)()

    def stream(self, address: str) -> bytes:
        """One that opens a stream: of Harness, or of OFREP at the ``address`` that a list named."""
        path = self._chance.choice((address, "/stream"))
        return message("GET", path, self._bearer | {"API-Key": KEY})

    def list_of_ofrep(self) -> bytes:
        """All flags for a context that is never the same, with the address of a stream."""
        body = json.dumps({"context": {"targetingKey": f"new-{next(self._numbers)}"}}).encode()
        return message("POST", "/ofrep/v1/evaluate/flags", {"Authorization": f"Bearer {KEY}"}, body)

    def _name(self) -> str:
        chance = self._chance
        return f"new-{next(self._numbers)}" if chance.random() < 0.2 else f"known-{chance.randrange(30)}"

    def _get(self, path: str, **fields: str) -> bytes:
        named = {name.replace("_", "-"): value for name, value in fields.items()}
        if self._chance.random() < 0.2:
            named["If-None-Match"] = f'"{self._name()}"'
        return message("GET", f"/client/env/{DEV}{path}", self._bearer | named)

    def _flags(self) -> bytes:
        return self._get(self._chance.choice(("/feature-configs", f"/feature-configs/{self._flag()}")))

    def _segments(self) -> bytes:
        rest = self._chance.choice(("", "?rules=v2", "/europe", f"/{self._name()}"))
        return self._get(f"/target-segments{rest}")

    def _evaluations(self) -> bytes:
        rest = self._chance.choice(("", f"/{self._flag()}"))
        return self._get(f"/target/{self._name()}/evaluations{rest}", Accept_Encoding="gzip")

    def _evaluated_as_described(self) -> bytes:
        name = self._name()
        target = base64.b64encode(json.dumps({"identifier": name, "attributes": {"a": name}}).encode())
        return self._get(f"/target/{name}/evaluations", Harness_Target=target.decode())

    def _authentication(self) -> bytes:
        name = self._name()
        target = {"identifier": name, "name": name, "attributes": {"about": name}}
        asked = {"apiKey": KEY} | ({"target": target} if self._chance.random() < 0.7 else {})
        return message("POST", "/client/auth", {}, json.dumps(asked).encode())

    def _wrong_key(self) -> bytes:
        return message("POST", "/client/auth", {}, json.dumps({"apiKey": self._name()}).encode())

    def _usage(self) -> bytes:
        names = {"featureIdentifier": self._flag(), "variationIdentifier": "true", "target": self._name()}
        attributes = [{"key": key, "value": value} for key, value in names.items()]
        entry = {"timestamp": 1, "count": 1, "metricsType": "FFMETRICS", "attributes": attributes}
        described = {"identifier": self._name(), "name": "n", "attributes": []}
        body = json.dumps({"metricsData": [entry], "targetData": [described]}).encode()
        return message("POST", f"/metrics/{DEV}", self._bearer, body)

    def _ofrep(self) -> bytes:
        rest = self._chance.choice(("", "/dark_mode", f"/{self._name()}"))
        body = json.dumps({"context": {"targetingKey": self._name()}}).encode()
        return message("POST", f"/ofrep/v1/evaluate/flags{rest}", {"Authorization": f"Bearer {KEY}"}, body)

    def _health(self) -> bytes:
        return message("GET", self._chance.choice(("/health", "/health/live", "/health/ready", "/metrics")))

    def _preflight(self) -> bytes:
        asked = {"Origin": f"https://{self._name()}.example", "Access-Control-Request-Method": "GET"}
        return message("OPTIONS", f"/client/env/{DEV}/feature-configs", asked)

    def _flag(self) -> str:
        return "dark_mode" if self._chance.random() < 0.7 else self._name()


class Visitors:
    """Send them one after another: what SDKs send on one connection, the rest each on its own."""

    def __init__(self, site: Site, queue: MemoryUsageQueue, intake: UsageIntake) -> None:
        token = site.token(ENVIRONMENT, KEY)
        self._site = site
        self._queue = queue
        self._intake = intake
        self._chance = Random(7)
        self._good = Requests(self._chance, token)
        self._bad = BadRequests(self._chance, token)
        self._version = 1

    async def send(self, requests: int) -> None:
        """So many; afterwards nobody is connected, and Harness has the usage."""
        left = requests
        while left > 0:
            burst = min(left, CHANGED_EVERY)
            left -= burst
            await self._change()
            await self._visit(burst)
        await until(lambda: len(self._site.hub) == 0)
        await self._forward()

    async def _visit(self, requests: int) -> None:
        async with connected(self._site) as wire:
            for _ in range(requests):
                turn = self._chance.random()
                if turn < 0.3:
                    await self._exchange(self._bad.draw().data)
                elif turn < 0.35:
                    await wire.send(self._good.list_of_ofrep())
                    told = (await wire.response()).json()["eventStreams"][0]
                    async with connected(self._site) as stream:
                        await stream.send(self._good.stream(told["endpoint"]["requestUri"]))
                        assert (await stream.response()).status == 200
                        await stream.chunk()
                else:
                    await wire.send(self._good.draw())
                    got = await wire.response()
                    assert got.status < 500, got

    async def _exchange(self, data: bytes) -> None:
        async with connected(self._site) as wire:
            with suppress(ConnectionError):
                wire.writer.write(data)
                wire.writer.write_eof()
                async with asyncio.timeout(30):
                    await wire.reader.read()

    async def _change(self) -> None:
        self._version += 1
        item = flag("dark_mode", on=self._version % 2 == 0, version=self._version)
        await self._site.store.configs.apply(ENVIRONMENT, PutItem(item))

    async def _forward(self) -> None:
        assert await self._intake.flush()
        while (lease := await self._queue.take(ENVIRONMENT, 1000)) is not None:
            await self._queue.settle(lease)


class Held(msgspec.Struct, frozen=True):
    """What Python holds: bytes, objects that its collector knows, and how many there are of each type."""

    size: int
    objects: int
    kinds: Counter[str]


def held(site: Site) -> Held:
    """Without what only this test remembers, but with what the suite holds: a module's may grow as well."""
    gc.unfreeze()
    site.state.tick()
    site.keys.asked.clear()
    site.registrar.registered.clear()
    gc.collect()
    found = gc.get_objects()
    # Texts, bytes and numbers are known to their holders alone.
    everything = {id(one): one for one in (*found, *gc.get_referents(*found))}
    kinds = Counter(type(one).__name__ for one in found)
    # An empty ``Raw`` says that it is terabytes.
    size = sum(sys.getsizeof(one) for one in everything.values() if type(one) is not msgspec.Raw)
    objects = len(found)
    del found, everything
    gc.freeze()
    return Held(size, objects, kinds)


@pytest.fixture
async def visitors() -> AsyncIterator[tuple[Site, Visitors]]:
    """A proxy with a small budget, that counts usage, and whoever uses it."""
    shares = shares_of(BUDGET)
    queue, clock, telemetry = MemoryUsageQueue(shares.usage_queue), SystemClock(), null_telemetry()
    intake = UsageIntake(queue, clock, telemetry, budget=shares.usage_buffer)
    site = Site(shares=shares, intake=intake, telemetry=telemetry)
    shop = config(flag("dark_mode"), segment("europe"), environment=ENVIRONMENT, keys=(KEY,))
    async with serving(site, shop):
        yield site, Visitors(site, queue, intake)


@pytest.mark.timeout(180)
async def test_requests_leave_nothing_that_grows(
    visitors: tuple[Site, Visitors], record_property: Callable[[str, object], None]
) -> None:
    """Neither bytes nor objects, once caches are full."""
    site, users = visitors
    thirds = []
    for _ in range(3):
        await users.send(REQUESTS // 3)
        thirds.append(held(site))
    _, second, third = thirds
    record_property("bytes and objects", str([(one.size, one.objects) for one in thirds]))
    most = (third.kinds - second.kinds).most_common(8)
    assert third.size - second.size < MORE_BYTES, most
    assert third.objects - second.objects < MORE_OBJECTS, most
