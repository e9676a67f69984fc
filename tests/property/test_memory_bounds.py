"""However hostile requests are, what they leave behind stays within the memory budget."""

import asyncio
import gc
import json
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from random import Random

import pytest

from ff_proxy.model.memory import MemoryShares, shares_of
from tests.support.configs import ENVIRONMENT, KEY, config, flag
from tests.support.web import Site, connected, message, serving

MEBIBYTE = 1024 * 1024
BUDGET = 2 * MEBIBYTE
# What one request may occupy for a moment, what the interpreter keeps for itself, and what does not grow.
SLACK = MEBIBYTE
REQUESTS = 150
SIZE = 30_000

Hostile = Callable[[Random, Site], bytes]


def text(random: Random, size: int = SIZE) -> str:
    """Something that never comes twice."""
    return f"{random.getrandbits(64):x}" + "x" * random.randrange(size // 2, size)


def paths(random: Random, site: Site) -> bytes:
    """Routes that exist nowhere."""
    del site
    return message("GET", f"/{text(random)}")


def environments(random: Random, site: Site) -> bytes:
    """Environments that nobody holds."""
    return message("GET", f"/client/env/{text(random)}/feature-configs", site.bearer())


def items(random: Random, site: Site) -> bytes:
    """Flags that do not exist."""
    return message("GET", f"/client/env/{ENVIRONMENT}/feature-configs/{text(random)}", site.bearer())


def identifiers(random: Random, site: Site) -> bytes:
    """Targets that are evaluated once."""
    return message("GET", f"/client/env/{ENVIRONMENT}/target/{text(random)}/evaluations", site.bearer())


def described(random: Random, site: Site) -> bytes:
    """Targets described in a header."""
    target = json.dumps({"identifier": "x", "attributes": {"about": text(random)}})
    path = f"/client/env/{ENVIRONMENT}/target/x/evaluations"
    return message("GET", path, site.bearer() | {"Harness-Target": target})


def field_names(random: Random, site: Site) -> bytes:
    """Header fields that nobody has heard of."""
    path = f"/client/env/{ENVIRONMENT}/feature-configs"
    return message("GET", path, site.bearer() | {text(random): "1"})


def field_values(random: Random, site: Site) -> bytes:
    """Ever new values of fields that matter."""
    path = f"/client/env/{ENVIRONMENT}/feature-configs"
    name = random.choice(["If-None-Match", "Accept-Encoding", "X-Request-ID", "User-Agent", "Traceparent"])
    return message("GET", path, site.bearer() | {name: text(random)})


def origins(random: Random, site: Site) -> bytes:
    """Pages from everywhere."""
    path = f"/client/env/{ENVIRONMENT}/feature-configs"
    return message("GET", path, site.bearer() | {"Origin": f"https://{text(random)}"})


def queries(random: Random, site: Site) -> bytes:
    """Clusters that nobody runs."""
    return message("GET", f"/client/env/{ENVIRONMENT}/feature-configs?cluster={text(random)}", site.bearer())


def tokens(random: Random, site: Site) -> bytes:
    """Tokens that are none."""
    del site
    path = f"/client/env/{ENVIRONMENT}/feature-configs"
    return message("GET", path, {"Authorization": f"Bearer {text(random)}"})


def targets(random: Random, site: Site) -> bytes:
    """Authentications with everything that a client can say of its target."""
    del site
    target = {"identifier": text(random, 500), "name": text(random, 500), "attributes": {"a": text(random)}}
    return message("POST", "/client/auth", {}, json.dumps({"apiKey": KEY, "target": target}).encode())


def keys(random: Random, site: Site) -> bytes:
    """Keys that nobody has."""
    del site
    return message("POST", "/client/auth", {}, json.dumps({"apiKey": text(random)}).encode())


@pytest.fixture
def shares() -> MemoryShares:
    """A small budget, so that little is needed to fill it."""
    return shares_of(BUDGET)


@pytest.fixture
async def site(shares: MemoryShares) -> AsyncIterator[Site]:
    """With that budget."""
    async with serving(Site(shares=shares, origins=["https://app.example.com"]), config(flag("a"))) as made:
        yield made


async def send(site: Site, random: Random, hostile: Hostile, requests: int) -> None:
    """One after another, on as many connections as it takes."""
    sent = 0
    while sent < requests:
        async with connected(site) as wire:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                while sent < requests:
                    sent += 1
                    await wire.send(hostile(random, site))
                    async with asyncio.timeout(5):
                        got = await wire.response()
                    assert got.status < 500 or got.status == 502
                    if got.field("connection") == "close":
                        break


@pytest.mark.parametrize(
    "hostile",
    [
        paths,
        environments,
        items,
        identifiers,
        described,
        field_names,
        field_values,
        origins,
        queries,
        tokens,
        targets,
        keys,
    ],
    ids=lambda hostile: hostile.__name__,
)
async def test_what_requests_leave_behind_is_bounded(site: Site, hostile: Hostile) -> None:
    """Four megabytes of what never comes twice leave little more than the budget of two."""
    random = Random(1)
    await send(site, random, hostile, 20)
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        await send(site, random, hostile, REQUESTS)
        site.state.tick()
        site.keys.asked.clear()
        site.registrar.registered.clear()
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
        assert after - before < BUDGET + SLACK, "\n".join(map(str, _most()))
    finally:
        tracemalloc.stop()


def _most() -> list[tracemalloc.Statistic]:
    """The lines of code that hold most."""
    return tracemalloc.take_snapshot().statistics("lineno")[:5]
