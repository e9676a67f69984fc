"""Clients of a proxy that are slow, broken, many, or wrong."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Final

from tests.chaos.fault import Begin
from tests.chaos.world import World
from tests.support.resets import reset_when_closed
from tests.support.sdk_like import DEV, KEYS, SdkLike

_MANY: Final = 60

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Act = Callable[[Connection, Mapping[str, str], random.Random], Awaitable[None]]


def crowd(act: Act, *, again: bool = False) -> Begin:
    """Many connections on which something is done; with ``again``, over and over."""

    @asynccontextmanager
    async def begin(world: World, chance: random.Random) -> AsyncIterator[None]:
        member = world.members[0]
        async with SdkLike.connected(member.url, KEYS[DEV]) as client:
            headers = client.headers | {"API-Key": client.key}

        async def one(own: random.Random) -> None:
            while True:
                with suppress(OSError, asyncio.IncompleteReadError):
                    connection = await asyncio.open_connection("127.0.0.1", member.proxy.port)
                    try:
                        await act(connection, headers, own)
                        if not again:
                            await asyncio.Event().wait()
                    finally:
                        connection[1].transport.abort()
                await asyncio.sleep(0.02)

        tasks = [asyncio.create_task(one(random.Random(chance.random()))) for _ in range(_MANY)]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            for error in ended:
                if isinstance(error, Exception):
                    raise error

    return begin


def head(method: str, path: str, fields: Mapping[str, str]) -> bytes:
    """A request's head."""
    lines = [f"{method} {path} HTTP/1.1", "Host: x", *(f"{name}: {value}" for name, value in fields.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def half_a_head(connection: Connection, headers: Mapping[str, str], chance: random.Random) -> None:
    """Never goes on."""
    sent = head("GET", f"/client/env/{DEV}/feature-configs", headers)
    connection[1].write(sent[: chance.randrange(len(sent) - 1)])


async def a_byte_at_a_time(connection: Connection, headers: Mapping[str, str], _: random.Random) -> None:
    """Far slower than anybody waits."""
    for byte in head("GET", f"/client/env/{DEV}/feature-configs", headers):
        connection[1].write(bytes([byte]))
        await asyncio.sleep(0.2)


async def half_a_body(connection: Connection, headers: Mapping[str, str], _: random.Random) -> None:
    """Promises more than it sends."""
    promised = {**headers, "Content-Length": "100000"}
    connection[1].write(head("POST", f"/metrics/{DEV}", promised) + b'{"metricsData": [')


async def reset_in_a_body(connection: Connection, headers: Mapping[str, str], chance: random.Random) -> None:
    """Goes in the middle of it."""
    await half_a_body(connection, headers, chance)
    await connection[1].drain()
    reset_when_closed(connection[1].get_extra_info("socket"))


async def unread_answers(connection: Connection, headers: Mapping[str, str], _: random.Random) -> None:
    """Asks and asks, and reads nothing."""
    connection[0]._transport.pause_reading()  # type: ignore[attr-defined]
    with suppress(TimeoutError):
        async with asyncio.timeout(1):
            for _round in range(200):
                connection[1].write(head("GET", f"/client/env/{DEV}/feature-configs", headers))
                await connection[1].drain()


async def unread_streams(connection: Connection, headers: Mapping[str, str], _: random.Random) -> None:
    """A stream that nobody reads."""
    connection[0]._transport.pause_reading()  # type: ignore[attr-defined]
    connection[1].write(head("GET", "/stream", headers))


async def hurried_streams(connection: Connection, headers: Mapping[str, str], chance: random.Random) -> None:
    """Opened and left at once."""
    connection[1].write(head("GET", "/stream", headers))
    await connection[0].readuntil(b"\r\n\r\n")
    await asyncio.sleep(chance.uniform(0, 0.1))


async def nonsense(connection: Connection, headers: Mapping[str, str], chance: random.Random) -> None:
    """Bodies and heads that mean nothing."""
    bodies = (b"", b"{", b"[]", b"\xff\xfe", b'{"apiKey": 7}', b"{" * 5000, chance.randbytes(300))
    body = chance.choice(bodies)
    path = chance.choice(("/client/auth", f"/metrics/{DEV}", "/nowhere", "/client/env//feature-configs"))
    connection[1].write(head("POST", path, {**headers, "Content-Length": str(len(body))}) + body)
    answer = await connection[0].readuntil(b"\r\n")
    assert any(status in answer for status in (b" 200", b" 4", b" 503")), (path, body, answer)


async def wrong_tokens(connection: Connection, headers: Mapping[str, str], chance: random.Random) -> None:
    """Forged, cut, or another environment's."""
    token = headers["Authorization"]
    wrong = chance.choice((token[:-3] + "AAA", "Bearer x", "Bearer a.b.c", token.upper(), ""))
    connection[1].write(head("GET", f"/client/env/{DEV}/feature-configs", {"Authorization": wrong}))
    answer = await connection[0].readuntil(b"\r\n")
    assert any(status in answer for status in (b" 401", b" 403", b" 429")), answer


async def unknown_keys(connection: Connection, _: Mapping[str, str], chance: random.Random) -> None:
    """Somebody tries keys."""
    body = f'{{"apiKey": "raw-key-{chance.getrandbits(40):x}"}}'.encode()
    connection[1].write(head("POST", "/client/auth", {"Content-Length": str(len(body))}) + body)
    answer = await connection[0].readuntil(b"\r\n")
    assert any(status in answer for status in (b" 403", b" 429", b" 503")), answer
