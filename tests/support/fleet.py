"""A fleet around one Redis, and what its users must never see: for tests of fleets and of their faults."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx2

from ff_proxy.model.environment import Domain
from ff_proxy.sandbox.running import RunningSandbox
from ff_proxy.sandbox.seed import default_environments
from ff_proxy.sandbox.seed.build import flag, serve
from tests.integration.harness import Proxy, online_options, sandbox
from tests.support.local_http import local_http
from tests.support.metrics import metric_sum
from tests.support.sdk_like import DEV, KEYS, SdkLike

QUICK: Final = {
    "flag-poll-interval": "1",
    "api-key-refresh-interval": "60",
    "shutdown-delay": "0",
    "metric-post-duration": "1",
}
TICK: Final = "tick"


async def readiness(proxy: Proxy) -> tuple[int, str, str]:
    """Status, state and reasons."""
    async with local_http(proxy.url, timeout=10.0) as http:
        answer = await http.get("/health/ready")
    told = answer.json()
    return answer.status_code, told["status"], str(told["reasons"])


@dataclass
class Fleet:
    """Two members that may lead and a replica, all ready."""

    saas: RunningSandbox
    one: Proxy
    two: Proxy
    replica: Proxy
    ticker: "Ticker"

    @property
    def members(self) -> list[Proxy]:
        """Everybody who serves."""
        return [self.one, self.two, self.replica]

    async def leader(self) -> Proxy | None:
        """Who is connected to SaaS for the development environment; for some seconds after a death nobody."""
        for proxy in (self.one, self.two):
            if await leads(proxy):
                return proxy
        return None

    async def late_checks(self) -> float:
        """See ``late_checks``; of all members."""
        return await late_checks(*self.members)


def counted(saas: RunningSandbox, flag: str) -> int:
    """How often SaaS was told that the flag was evaluated."""
    return sum(entry.count for entry in saas.usage.sums() if entry.flag == flag)


async def posted(saas: RunningSandbox, flag: str, count: int) -> bool:
    """Whether that many have arrived."""
    return counted(saas, flag) >= count


async def late_checks(*proxies: Proxy) -> float:
    """How many revision checks Redis has not answered in time, after which an answer may be old."""
    return sum([metric_sum(await metrics(proxy), "ff_proxy_revision_checks_late_total") for proxy in proxies])


async def leads(proxy: Proxy) -> bool:
    """Whether the member is connected to SaaS for the development environment."""
    return f'ff_proxy_stream_health{{envID="{DEV}"}} 1.0' in await metrics(proxy)


async def metrics(proxy: Proxy) -> str:
    """What a member gives Prometheus."""
    async with local_http() as http:
        return (await http.get(f"{proxy.url}/metrics")).text


@asynccontextmanager
async def fleet(place: Path, redis: str, **special: Mapping[str, str]) -> AsyncIterator[Fleet]:
    """Started, connected to SaaS for every environment, and stopped well.

    Args:
        place: where the logs go.
        redis: the option ``redis-address``.
        special: options of one member, by its name.
    """
    async with sandbox(*default_environments()) as saas:
        ticker = Ticker(saas)
        online = online_options(saas, KEYS.values()) | QUICK
        only_here: dict[str, Mapping[str, str]] = {
            "one": online,
            "two": online,
            "replica": {"read-replica": "true", "shutdown-delay": "0"},
        }
        proxies = {
            name: Proxy({**options, "redis-address": redis, **special.get(name, {})}, place / f"{name}.log")
            for name, options in only_here.items()
        }
        async with AsyncExitStack() as stack:
            for proxy in proxies.values():
                stack.push_async_callback(proxy.kill)
            await asyncio.gather(*(proxy.start() for proxy in proxies.values()))
            async with asyncio.timeout(20):
                await saas.streams.until(lambda count: count == len(KEYS))
            yield Fleet(saas, ticker=ticker, **proxies)
            await asyncio.gather(*(proxy.stop() for proxy in proxies.values()))


class Ticker:
    """A flag of the development environment that is changed again and again: its value says how often."""

    def __init__(self, saas: RunningSandbox) -> None:
        self._state = saas.state
        self._info = saas.state.find(DEV).info
        self.number = 0
        self.tick()

    def tick(self) -> int:
        """Change it once more; returns its new value."""
        self.number += 1
        values = {"now": str(self.number), "never": "0"}
        document = flag(self._info, TICK, "string", values, off="never", default=serve("now"))
        self._state.put(self._info.id, Domain.FLAG, document)
        return self.number


async def _by_id(client: SdkLike) -> int:
    return _number(_body(await client.get(f"/feature-configs/{TICK}")))


async def _in_bulk(client: SdkLike) -> int:
    flags = _body(await client.get("/feature-configs"))
    return _number(next(flag for flag in flags if flag["feature"] == TICK))


async def _evaluated(client: SdkLike) -> int:
    return int(_body(await client.get(f"/target/somebody/evaluations/{TICK}"))["value"])


async def _all_evaluated(client: SdkLike) -> int:
    found = _body(await client.get("/target/somebody/evaluations"))
    return int(next(one["value"] for one in found if one["flag"] == TICK))


WAYS: Final[Mapping[str, Callable[[SdkLike], Awaitable[int]]]] = {
    "by id": _by_id,
    "in bulk": _in_bulk,
    "evaluated": _evaluated,
    "all evaluated": _all_evaluated,
}
"""How an SDK may ask for the ticker's flag."""


class Witness:
    """Remembers the newest value that anybody was told, and every answer that was older than that."""

    def __init__(self) -> None:
        self.newest = 0
        self.wrong: list[str] = []

    async def read(self, client: SdkLike, way: str) -> int:
        """Ask for the ticker's flag; any status but 200 fails the test."""
        known = self.newest
        value = await WAYS[way](client)
        if value < known:
            self.wrong.append(f"{way} at {client.url}: {value}, after somebody was told {known}")
        self.newest = max(self.newest, value)
        return value


def _body(answer: httpx2.Response) -> Any:
    assert answer.status_code == 200, f"{answer.url}: {answer.status_code} {answer.text}"
    return answer.json()


def _number(flag: Mapping[str, Any]) -> int:
    return int(flag["variations"][0]["value"])
