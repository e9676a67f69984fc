"""Trouble with the disk, with Redis, and on the way to it."""

import asyncio
import random
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path

from tests.chaos.fault import Begin
from tests.chaos.world import Form, World
from tests.support.redis_server import RedisServer, redis_command
from tests.support.relay import Link

_FILE = "ff-proxy.sqlite"
_LATE_MS = "200"
_BETWEEN = 0.1  # seconds


@asynccontextmanager
async def disk_full(world: World, _: random.Random) -> AsyncIterator[None]:
    """Nothing that is written finds room."""
    with world.full_disk():
        yield


@asynccontextmanager
async def file_locked(world: World, _: random.Random) -> AsyncIterator[None]:
    """Another program holds the file, as a backup does."""
    made = sqlite3.connect(_file(world), timeout=5, isolation_level=None, check_same_thread=False)
    with closing(made) as other:
        await asyncio.to_thread(other.execute, "BEGIN IMMEDIATE")
        try:
            yield
        finally:
            other.execute("ROLLBACK")


@asynccontextmanager
async def file_removed(world: World, _: random.Random) -> AsyncIterator[None]:
    """Somebody tidies up."""
    file = _file(world)
    for beside in (file, file.with_name(f"{_FILE}-wal"), file.with_name(f"{_FILE}-shm")):
        beside.unlink(missing_ok=True)
    yield


def redis_linked(link: Link, *, reset: bool = False, everyone: bool = False) -> Begin:
    """The way of one member, or of everyone, to Redis."""

    @asynccontextmanager
    async def begin(world: World, chance: random.Random) -> AsyncIterator[None]:
        members = world.members if everyone else [world.pick(chance)]
        relays = [member.to_redis for member in members if member.to_redis is not None]
        for relay in relays:
            await relay.set(link)
            if reset:
                relay.reset()
        try:
            yield
        finally:
            for relay in relays:
                await relay.mend()

    return begin


@asynccontextmanager
async def redis_unheard(world: World, chance: random.Random) -> AsyncIterator[None]:
    """One member gets no notices."""
    relay = world.pick(chance).to_redis
    assert relay is not None
    relay.deafen()
    try:
        yield
    finally:
        await relay.mend()


@asynccontextmanager
async def redis_replaced(world: World, _: random.Random) -> AsyncIterator[None]:
    """At its address answers something that is no Redis."""
    relays = [member.to_redis for member in world.members if member.to_redis is not None]
    for relay in relays:
        relay.lead_to(world.saas.listener.port)
        relay.reset()
    try:
        yield
    finally:
        for relay in relays:
            relay.lead_to(world.redis[0].port)
            relay.reset()


def redis_frozen(which: int | None = None) -> Begin:
    """One server, or a certain one, holds its sockets and says nothing."""

    @asynccontextmanager
    async def begin(world: World, chance: random.Random) -> AsyncIterator[None]:
        server = chance.choice(world.redis) if which is None else world.redis[which]
        server.pause(on=True)
        try:
            yield
        finally:
            server.pause(on=False)

    return begin


@asynccontextmanager
async def redis_all_frozen(world: World, _: random.Random) -> AsyncIterator[None]:
    """No server says anything."""
    for server in world.redis:
        server.pause(on=True)
    try:
        yield
    finally:
        for server in world.redis:
            server.pause(on=False)


@asynccontextmanager
async def redis_slow(world: World, _: random.Random) -> AsyncIterator[None]:
    """Every server answers late, again and again, as beside somebody's long commands."""

    async def slowing() -> None:
        while True:
            for server in world.redis:
                await asyncio.to_thread(redis_command, server.port, "CLIENT", "PAUSE", _LATE_MS, "ALL")
            await asyncio.sleep(int(_LATE_MS) / 1000 + _BETWEEN)

    task = asyncio.create_task(slowing())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


def redis_restarted(which: int | None = None) -> Begin:
    """One server, or a certain one, dies and comes back with nothing, since it keeps nothing."""

    @asynccontextmanager
    async def begin(world: World, chance: random.Random) -> AsyncIterator[None]:
        server = chance.choice(world.redis) if which is None else world.redis[which]
        server.stop()
        try:
            yield
        finally:
            await asyncio.to_thread(server.start)

    return begin


@asynccontextmanager
async def redis_flushed(world: World, _: random.Random) -> AsyncIterator[None]:
    """Somebody empties it."""
    for server in _writable(world):
        await asyncio.to_thread(redis_command, server.port, "FLUSHALL")
    yield


@asynccontextmanager
async def redis_older(world: World, chance: random.Random) -> AsyncIterator[None]:
    """What it held when the trouble began comes back when it ends."""
    server = chance.choice(world.redis)
    await asyncio.to_thread(redis_command, server.port, "SAVE")
    try:
        yield
    finally:
        server.stop()
        await asyncio.to_thread(server.start)


def redis_configured(name: str, wrong: str, right: str) -> Begin:
    """An option of every server is wrong."""

    @asynccontextmanager
    async def begin(world: World, _: random.Random) -> AsyncIterator[None]:
        for server in world.redis:
            await asyncio.to_thread(redis_command, server.port, "CONFIG", "SET", name, wrong)
        try:
            yield
        finally:
            for server in world.redis:
                await asyncio.to_thread(redis_command, server.port, "CONFIG", "SET", name, right)

    return begin


@asynccontextmanager
async def redis_read_only(world: World, _: random.Random) -> AsyncIterator[None]:
    """It has become a replica of a server that is not there."""
    for server in world.redis:
        await asyncio.to_thread(redis_command, server.port, "REPLICAOF", "127.0.0.1", "1")
    try:
        yield
    finally:
        for server in world.redis:
            await asyncio.to_thread(redis_command, server.port, "REPLICAOF", "NO", "ONE")


@asynccontextmanager
async def redis_busy(world: World, _: random.Random) -> AsyncIterator[None]:
    """Somebody's script runs for ever, and everybody else is told so."""
    await asyncio.to_thread(redis_command, world.redis[0].port, "CONFIG", "SET", "busy-reply-threshold", "50")
    writer = (await asyncio.open_connection("127.0.0.1", world.redis[0].port))[1]
    writer.write(b"EVAL 'while true do end' 0\r\n")
    try:
        yield
    finally:
        writer.transport.abort()
        with suppress(AssertionError):  # an answer that reads as an error, since the script is over
            await asyncio.to_thread(redis_command, world.redis[0].port, "SCRIPT", "KILL")


@asynccontextmanager
async def redis_clients_killed(world: World, _: random.Random) -> AsyncIterator[None]:
    """Every connection ends."""
    for server in world.redis:
        await asyncio.to_thread(redis_command, server.port, "CLIENT", "KILL", "TYPE", "normal")
        await asyncio.to_thread(redis_command, server.port, "CLIENT", "KILL", "TYPE", "pubsub")
    yield


def _file(world: World) -> Path:
    assert world.data is not None
    return world.data / _FILE


def _writable(world: World) -> list[RedisServer]:
    if world.form is Form.CLUSTER:
        return world.redis
    return [
        server
        for server in world.redis
        if b"role:master" in redis_command(server.port, "INFO", "replication")
    ]
