"""One client key describes targets at great length: what members, Redis and disks keep of it is bounded."""

import asyncio
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from ff_proxy.sandbox.seed import default_environments
from ff_proxy.wire.stored import MAX_ATTRIBUTES_BYTES
from tests.integration.harness import Proxy, online_options, sandbox
from tests.support.redis_server import RedisServer, redis_command, redis_server
from tests.support.sdk_like import DEV, KEYS, SdkLike

MEBIBYTE: Final = 1024 * 1024
# Kept twice, they would be beyond the bounds below.
KEPT_TARGETS: Final = 1_200
# 200 MiB of attributes, of which a quarter may be kept.
HUGE_TARGETS: Final = 200
AT_ONCE: Final = 8
CLIENT_KEY: Final = "sandbox-dev-client-key"
BUDGET: Final = 256 * MEBIBYTE
# Of a target whose attributes are not kept: identifier, name, and what stores need for a row.
BARE_BYTES: Final = 2 * 1024
# Bodies that are read at the same time, and what the allocator does not give back.
WORKING_BYTES: Final = 48 * MEBIBYTE


def json_of(value: object) -> str:
    """As SDKs write it."""
    return json.dumps(value, separators=(",", ":"))


# A megabyte each; what takes a parser longest is what fewest have.
_WANTED: Final = MEBIBYTE - 1024
_TEXT: Final = json_of({"text": "x" * _WANTED})
_FIELDS: Final = json_of({f"{number:012}": number % 10 for number in range(_WANTED // 18)})
_LISTS: Final = json_of({"lists": [[7] * 100] * (_WANTED // 210)})


def huge(number: int) -> bytes:
    """One long text, many short ones, or lists in a list."""
    return described(number, {0: _FIELDS, 1: _LISTS}.get(number % 20, _TEXT))


def largest(number: int) -> bytes:
    """As long as attributes may be that are kept, and never the same."""
    return described(number, json_of({"text": f"{number}".ljust(MAX_ATTRIBUTES_BYTES - 64, "x")}))


def described(number: int, attributes: str) -> bytes:
    """The body of an authentication."""
    named = f'"identifier":"target-{number}","name":"Target {number}"'
    return f'{{"apiKey":"{CLIENT_KEY}","target":{{{named},"attributes":{attributes}}}}}'.encode()


async def authenticate(proxy: Proxy, body: Callable[[int], bytes], targets: int) -> None:
    """So many targets, a few at a time; each is answered with a token."""
    numbers: Iterator[int] = iter(range(targets))

    async def some() -> None:
        async with SdkLike(proxy.url, CLIENT_KEY).http as http:
            for number in numbers:
                content = body(number)
                assert len(content) <= MEBIBYTE
                headers = {"Content-Type": "application/json"}
                answer = await http.post("/client/auth", content=content, headers=headers, timeout=60)
                assert answer.status_code == 200, answer.text

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(some())


def resident(proxy: Proxy) -> int:
    """Bytes of memory that the member has now."""
    pages = int(Path(f"/proc/{proxy.pid}/statm").read_text(encoding="utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def used_memory(server: RedisServer) -> int:
    """Bytes of what Redis holds."""
    told = redis_command(server.port, "INFO", "memory").decode()
    return next(int(line.partition(":")[2]) for line in told.splitlines() if line.startswith("used_memory:"))


def on_disk(directory: Path) -> int:
    """Bytes of all files in a directory."""
    return sum(file.stat().st_size for file in directory.iterdir())


@pytest.mark.timeout(240)
@pytest.mark.parametrize("body", [huge, largest], ids=["not kept", "kept"])
@pytest.mark.parametrize("store", ["redis", "data-dir"])
async def test_what_is_kept_of_targets_is_bounded(
    tmp_path: Path,
    store: str,
    body: Callable[[int], bytes],
    record_property: Callable[[str, object], None],
) -> None:
    """A member keeps its share of the budget, a store no more than the attributes that are kept."""
    each, targets = BARE_BYTES, HUGE_TARGETS
    if body is largest:
        each, targets = BARE_BYTES + MAX_ATTRIBUTES_BYTES, KEPT_TARGETS
    data = tmp_path / "data"
    async with sandbox(*default_environments()) as saas:
        with redis_server(tmp_path / "redis") as server:
            place = (
                {"redis-address": f"127.0.0.1:{server.port}"} if store == "redis" else {"data-dir": str(data)}
            )
            options = online_options(saas, [KEYS[DEV]]) | place
            options |= {"memory-budget": f"{BUDGET // MEBIBYTE}MiB", "shutdown-delay": "0"}
            async with Proxy.running(options, tmp_path / "log", fresh=True) as proxy:  # memory of its own
                size = (lambda: used_memory(server)) if store == "redis" else (lambda: on_disk(data))
                before, stored = resident(proxy), await asyncio.to_thread(size)
                await authenticate(proxy, body, targets)
                grown, kept = resident(proxy) - before, await asyncio.to_thread(size) - stored
                for name, value in (("member", grown), ("store", kept)):
                    record_property(f"MiB more in the {name}", value / MEBIBYTE)
                    print(f"{value / MEBIBYTE:.1f} MiB more in the {name}")  # noqa: T201  (a measurement)
    assert kept < targets * each + WORKING_BYTES
    assert grown < min(targets * each, BUDGET // 2) + WORKING_BYTES
