"""``python -m tests.chaos.abuse [-scale SHARE]``: hostile clients of every kind beside a good one."""

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from tests.chaos.client_faults import head
from tests.chaos.driver import ViolationError
from tests.chaos.records import write_record
from tests.chaos.world import Form, Usage, World, times_held, world
from tests.support.sdk_like import DEV, KEYS, SdkLike

# What the memory budget allows (its least), and what the interpreter does not give back.
_GROWTH: Final = Usage(memory=256 * 1024 * 1024, files=64)
_CONNECTING_AT_ONCE: Final = 200
_MEBIBYTE: Final = 1024 * 1024

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Seen(msgspec.Struct, frozen=True):
    """What a well-behaved client and the machine saw of one kind of abuse; seconds and bytes."""

    kind: str
    size: int
    seconds: float
    p50: float
    p99: float
    longest: float
    answers: int
    memory_before: int
    memory_most: int
    memory_after: int
    files_before: int
    files_after: int


class Attacker:
    """Opens connections to one proxy and misuses them.

    Attributes:
        headers: of a client with a good token; most attackers have none.
    """

    def __init__(self, made: World, headers: Mapping[str, str], scale: float) -> None:
        self.headers = headers
        self._port = made.members[0].proxy.port
        self._scale = scale
        self._gate = asyncio.Semaphore(_CONNECTING_AT_ONCE)
        self._chance = random.Random(1)

    def many(self, full: int) -> int:
        """So many in a run of full size."""
        return max(10, int(full * self._scale))

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """One; whatever becomes of it."""
        async with self._gate:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            yield reader, writer
        finally:
            writer.transport.abort()

    async def hold(self, count: int, seconds: float, sent: Callable[[], bytes], *, read: bool = True) -> None:
        """So many connections that send something at the beginning, and then stay for a time."""
        release = asyncio.Event()

        async def one() -> None:
            with suppress(OSError):
                async with self.connection() as (reader, writer):
                    if not read:
                        reader._transport.pause_reading()  # type: ignore[attr-defined]
                    writer.write(sent())
                    await release.wait()

        tasks = [asyncio.create_task(one()) for _ in range(count)]
        await asyncio.sleep(max(1.0, seconds * min(1.0, self._scale)))
        release.set()
        await asyncio.gather(*tasks)

    async def requests(
        self, count: int, make: Callable[[random.Random], bytes], *, at_once: int = 16
    ) -> None:
        """So many requests, one after another on a few connections; what is answered does not matter."""
        left = count

        async def one() -> None:
            nonlocal left
            while left > 0:
                with suppress(OSError, asyncio.IncompleteReadError, ValueError, TimeoutError):
                    async with self.connection() as (reader, writer):
                        while left > 0:
                            left -= 1
                            writer.write(make(self._chance))
                            async with asyncio.timeout(30):
                                await writer.drain()
                                await _response(reader)

        await asyncio.gather(*(one() for _ in range(at_once)))


async def _response(reader: asyncio.StreamReader) -> None:
    lines = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = lines.partition(b"content-length: ")[2].partition(b"\r\n")[0]
    await reader.readexactly(int(length or 0))
    if b"connection: close" in lines:
        raise asyncio.IncompleteReadError(b"", None)


def _post(path: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    return head("POST", path, {**headers, "Content-Length": str(len(body))}) + body


Kind = Callable[[Attacker], Awaitable[int]]
"""Does its worst, and returns how often."""


async def slow_heads(attacker: Attacker) -> int:
    """Connections that send a byte now and then of a head that never ends."""
    count = attacker.many(3000)
    await attacker.hold(count, 12, lambda: b"GET /client/env/x HTTP/1.1\r\nHost: half a he")
    return count


async def idle_connections(attacker: Attacker) -> int:
    """As many as one client may have, and more, that say nothing."""
    count = attacker.many(3300)
    await attacker.hold(count, 5, lambda: b"")
    return count


async def slow_readers(attacker: Attacker) -> int:
    """Connections that ask for everything a hundred times and read nothing."""
    count = attacker.many(400)
    ask = head("GET", f"/client/env/{DEV}/feature-configs", attacker.headers) * 100
    await attacker.hold(count, 8, lambda: ask, read=False)
    return count


async def unread_streams(attacker: Attacker) -> int:
    """Streams that nobody reads."""
    count = attacker.many(1000)
    ask = head("GET", "/stream", {**attacker.headers, "API-Key": KEYS[DEV]})
    await attacker.hold(count, 8, lambda: ask, read=False)
    return count


async def withheld_bodies(attacker: Attacker) -> int:
    """Bodies of which the last byte is never sent."""
    count = attacker.many(400)
    body = b'{"metricsData": [' + b" " * 60_000
    promised = {**attacker.headers, "Content-Length": str(len(body) + 1)}
    sent = head("POST", f"/metrics/{DEV}", promised) + body
    await attacker.hold(count, 8, lambda: sent)
    return count


async def random_keys(attacker: Attacker) -> int:
    """Keys that nobody has ever had."""
    count = attacker.many(10_000)

    def one(chance: random.Random) -> bytes:
        return _post("/client/auth", b'{"apiKey": "raw-key-%x"}' % chance.getrandbits(80), {})

    await attacker.requests(count, one)
    return count


async def bad_tokens(attacker: Attacker) -> int:
    """Tokens that do not verify."""
    count = attacker.many(10_000)

    def one(chance: random.Random) -> bytes:
        token = f"{attacker.headers['Authorization'][:-20]}{chance.getrandbits(80):020x}"
        return head("GET", f"/client/env/{DEV}/feature-configs", {"Authorization": token})

    await attacker.requests(count, one)
    return count


async def random_targets(attacker: Attacker) -> int:
    """Evaluations for targets that nobody has heard of."""
    count = attacker.many(100_000)

    def one(chance: random.Random) -> bytes:
        target = f"{chance.getrandbits(80):x}"
        return head("GET", f"/client/env/{DEV}/target/{target}/evaluations", attacker.headers)

    await attacker.requests(count, one)
    return count


async def long_identifiers(attacker: Attacker) -> int:
    """The same, with identifiers of a hundred kilobytes."""
    count = attacker.many(2000)

    def one(chance: random.Random) -> bytes:
        target = f"{chance.getrandbits(80):x}" * 5000
        return head("GET", f"/client/env/{DEV}/target/{target}/evaluations", attacker.headers)

    await attacker.requests(count, one)
    return count


async def described_targets(attacker: Attacker) -> int:
    """Authentications with a megabyte of attributes."""
    count = attacker.many(600)

    def one(chance: random.Random) -> bytes:
        target = {"identifier": f"{chance.getrandbits(80):x}", "attributes": {"about": "x" * 1_000_000}}
        return _post("/client/auth", json.dumps({"apiKey": KEYS[DEV], "target": target}).encode(), {})

    await attacker.requests(count, one, at_once=4)
    return count


async def long_fields(attacker: Attacker) -> int:
    """Names of header fields of 300 kB, never twice the same, without a token."""
    count = attacker.many(1100)

    def one(chance: random.Random) -> bytes:
        return head("GET", "/health", {f"x-{chance.getrandbits(80):x}" + "y" * 300_000: "1"})

    await attacker.requests(count, one)
    return count


async def pipelines(attacker: Attacker) -> int:
    """Two hundred connections that send 150 requests at once."""
    count = attacker.many(200)
    asks = head("GET", f"/client/env/{DEV}/target/ana/evaluations", attacker.headers) * 150
    await attacker.hold(count, 8, lambda: asks)
    return count


async def huge_usage(attacker: Attacker) -> int:
    """Bodies of sixty megabytes of nothing but numbers."""
    count = 4
    body = b'{"metricsData": [' + b"0," * attacker.many(30 * _MEBIBYTE) + b"0]}"
    await attacker.requests(count, lambda _: _post(f"/metrics/{DEV}", body, attacker.headers), at_once=2)
    return count


KINDS: Final[tuple[Kind, ...]] = (
    slow_heads,
    idle_connections,
    slow_readers,
    unread_streams,
    withheld_bodies,
    random_keys,
    bad_tokens,
    random_targets,
    long_identifiers,
    described_targets,
    long_fields,
    pipelines,
    huge_usage,
)


class Abuse:
    """One proxy that goes through every kind, watched from beside."""

    def __init__(self, made: World, scale: float) -> None:
        self._world = made
        self._scale = scale
        self._most = 0
        self._held = 0

    async def run(self, kinds: Sequence[Kind], tell: Callable[[Seen], None]) -> list[Seen]:
        """One after another; ``ViolationError`` if a good client was refused, or too much is left behind."""
        seen = []
        async with SdkLike.connected(self._world.members[0].url, KEYS[DEV]) as client:
            for kind in kinds:
                seen.append(await self._one(kind, Attacker(self._world, client.headers, self._scale)))
                tell(seen[-1])
        if trouble := await self._world.trouble():
            raise ViolationError(trouble)
        return seen

    async def _one(self, kind: Kind, attacker: Attacker) -> Seen:
        name = kind.__name__.replace("_", " ")
        before = self._world.resources()
        self._most = before.memory
        async with _watched(self._world) as told:
            began = time.monotonic()
            watching = asyncio.create_task(self._watch())
            try:
                size = await kind(attacker)
            finally:
                watching.cancel()
                await asyncio.wait([watching])
            took = time.monotonic() - began
        if set(told["statuses"]) != {"200"}:
            raise ViolationError(f"{name}: a good client was answered {told['statuses']}")
        if set(told["states"]) != {"200 ready"}:
            raise ViolationError(f"{name}: probes were answered {told['states']}")
        if held := await times_held(self._world) - self._held:
            self._held += held
            raise ViolationError(f"{name}: the event loop was held {held} times")
        after = await self._settled(before)
        if after.exceeds(before, _GROWTH):
            raise ViolationError(f"{name}: {before} has become {after}")
        return Seen(
            kind=name,
            size=size,
            seconds=round(took, 1),
            p50=round(told["p50"], 4),
            p99=round(told["p99"], 4),
            longest=round(told["longest"], 3),
            answers=told["statuses"]["200"],
            memory_before=before.memory,
            memory_most=self._most,
            memory_after=after.memory,
            files_before=before.files,
            files_after=after.files,
        )

    async def _watch(self) -> None:
        """Note what memory there is at most."""
        while True:
            self._most = max(self._most, self._world.resources().memory)
            await asyncio.sleep(0.2)

    async def _settled(self, before: Usage) -> Usage:
        """When the connections of the abuse are gone."""
        with suppress(TimeoutError):
            async with asyncio.timeout(15):
                while self._world.resources().files > before.files + _GROWTH.files:  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
        return self._world.resources()


@asynccontextmanager
async def _watched(made: World) -> AsyncIterator[dict[str, Any]]:
    """A good client in a process of its own; the dictionary is filled when it has been told to end."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.chaos.steady_client", str(made.members[0].proxy.port)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    told: dict[str, Any] = {}
    try:
        async with asyncio.timeout(30):
            assert await process.stdout.readline() == b"ready\n"
        yield told
        process.stdin.close()
        async with asyncio.timeout(60):
            told |= json.loads(await process.stdout.readline())
            await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def abuse(
    scale: float, place: Path, tell: Callable[[Seen], None], kinds: Sequence[Kind] = KINDS
) -> list[Seen]:
    """Some kinds, at a share of their full size."""
    options = {"max-connections": "3200", "metric-post-duration": "60", "memory-budget": "256 MiB"}
    async with world(Form.MEMORY, place, seed=0, options=options) as made:
        return await Abuse(made, scale).run(kinds, tell)


def _tell(seen: Seen) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(seen) + b"\n")
    sys.stdout.flush()


def main() -> int:
    """Exit code 1 if a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.abuse", description=__doc__)
    parser.add_argument("-scale", type=float, default=1.0)
    parser.add_argument("-only", default="", help="kinds with this in their names")
    parser.add_argument("-keep", action="store_true", help="keep the figures for docs/proof.md")
    asked = parser.parse_args()
    kinds = [kind for kind in KINDS if asked.only in kind.__name__]
    try:
        seen = asyncio.run(abuse(asked.scale, Path(tempfile.mkdtemp(prefix="abuse-")), _tell, kinds))
    except ViolationError as broken:
        sys.stderr.write(f"{broken}\n")
        return 1
    if asked.keep:
        write_record("abuse", seen)
    return 0


if __name__ == "__main__":
    sys.exit(main())
