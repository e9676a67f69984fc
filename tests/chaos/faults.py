"""What goes wrong: each fault begins when its context is entered, and is over when the context is left."""

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from enum import Flag, auto
from typing import Final

import msgspec

from ff_proxy.sandbox.faults import Fault as Answer
from tests.chaos.world import Form, Member, World
from tests.support.redis_server import RedisServer, redis_command
from tests.support.relay import Accepting, Link
from tests.support.workers import SYNC, pids

Context = AbstractAsyncContextManager[None]


class Touches(Flag):
    """What a fault may cost, beyond being late."""

    NOTHING = 0
    ANSWERS = auto()
    """An answer or an acknowledgement may be lost: what was sent may be sent once more."""
    STORE = auto()
    """What the store holds may be behind what members serve."""
    EMPTIES = auto()
    """Usage that waits in the store is lost, or finds no room there."""
    PROCESSES = auto()
    """Processes are killed: what they had taken in the last second is lost."""
    LIVES = auto()
    """A member ends: what it holds in nothing but memory is lost if Harness does not take it now."""


class Fault(msgspec.Struct, frozen=True):
    """A kind of trouble, the forms in which there is such a thing, and what it may cost.

    The first word of its name is what it befalls; of two that befall the same one would undo the other.
    """

    name: str
    begin: Callable[[World, random.Random], Context]
    touches: Touches = Touches.NOTHING
    forms: frozenset[Form] = frozenset(Form)

    @property
    def befalls(self) -> str:
        """Harness, its streams, a member, a process, a disk or Redis."""
        return self.name.partition(" ")[0]


_FLEETS: Final = frozenset(form for form in Form if form.fleet)
_FILES: Final = frozenset({Form.SQLITE, Form.WORKERS})
_ROUTES: Final = ("auth", "flags", "flag", "segments", "stream", "usage", "admin-keys", "*")


def _linked(link: Link, *, reset: bool = False) -> Callable[[World, random.Random], Context]:
    """One member's way to Harness."""

    @asynccontextmanager
    async def begin(world: World, chance: random.Random) -> AsyncIterator[None]:
        relay = world.pick(chance).to_saas
        await relay.set(link)
        if reset:
            relay.reset()
        try:
            yield
        finally:
            await relay.mend()

    return begin


def _redis_linked(link: Link, *, reset: bool = False) -> Callable[[World, random.Random], Context]:
    """One member's way to Redis."""

    @asynccontextmanager
    async def begin(world: World, chance: random.Random) -> AsyncIterator[None]:
        relay = world.pick(chance).to_redis
        assert relay is not None
        await relay.set(link)
        if reset:
            relay.reset()
        try:
            yield
        finally:
            await relay.mend()

    return begin


def _answered(**fields: object) -> Callable[[World, random.Random], Context]:
    """A route of Harness answers otherwise."""

    @asynccontextmanager
    async def begin(world: World, chance: random.Random) -> AsyncIterator[None]:
        route = chance.choice(_ROUTES)
        world.saas.faults.add(msgspec.convert({"route": route} | fields, Answer))
        try:
            yield
        finally:
            world.saas.site.clear_faults(route)

    return begin


@asynccontextmanager
async def _saas_gone(world: World, _: random.Random) -> AsyncIterator[None]:
    world.saas.down()
    try:
        yield
    finally:
        await world.saas.up()


@asynccontextmanager
async def _streams_cut(world: World, chance: random.Random) -> AsyncIterator[None]:
    world.saas.streams.cut(how=chance.choice(("eof", "reset")))
    yield


@asynccontextmanager
async def _streams_garbled(world: World, chance: random.Random) -> AsyncIterator[None]:
    noise = (b"event: *\ndata: {half", b'data: "text"\n\n', b"\xff\xfe\n\n", b"x" * 70_000, b"data: []\n\n")
    world.saas.streams.send(None, chance.choice(noise))
    world.saas.streams.cut()
    yield


@asynccontextmanager
async def _half_closed(world: World, chance: random.Random) -> AsyncIterator[None]:
    world.pick(chance).to_saas.half_close()
    yield


async def _settled(member: Member, world: World) -> None:
    """Let a member start by itself: whoever waits for the end of a fault does not wait for that too."""
    world.rising.append(asyncio.create_task(member.rise()))


@asynccontextmanager
async def _killed(world: World, chance: random.Random) -> AsyncIterator[None]:
    member = await _going(world, chance)
    if member is None:
        yield
        return
    await member.kill()
    try:
        yield
    finally:
        await _settled(member, world)


@asynccontextmanager
async def _restarted(world: World, chance: random.Random) -> AsyncIterator[None]:
    member = await _going(world, chance)
    if member is not None:
        await member.stop()
        await _settled(member, world)
    yield


async def _going(world: World, chance: random.Random) -> Member | None:
    """A member that serves and may go: another one stays."""
    serving = [member for member in world.members if member.life]
    if not serving or (world.form.fleet and len(serving) < 2):
        return None
    return chance.choice(serving)


@asynccontextmanager
async def _frozen(world: World, chance: random.Random) -> AsyncIterator[None]:
    member = await _going(world, chance)
    if member is None:
        yield
        return
    member.life = 0
    held = member.processes()
    for pid in held:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in reversed(held):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        world.rising.append(asyncio.create_task(member.wake()))


@asynccontextmanager
async def _process_killed(world: World, chance: random.Random) -> AsyncIterator[None]:
    member = world.members[0]
    if member.life:
        name = chance.choice((SYNC, "worker-1", "worker-2"))
        world.tear()
        with suppress(ProcessLookupError):
            os.kill(pids(member.proxy)[name], signal.SIGKILL)
    yield


@asynccontextmanager
async def _disk_full(world: World, _: random.Random) -> AsyncIterator[None]:
    with world.full_disk():
        yield


@asynccontextmanager
async def _redis_frozen(world: World, chance: random.Random) -> AsyncIterator[None]:
    server = chance.choice(world.redis)
    server.pause(on=True)
    try:
        yield
    finally:
        server.pause(on=False)


@asynccontextmanager
async def _redis_restarted(world: World, chance: random.Random) -> AsyncIterator[None]:
    """Empty, as it keeps nothing."""
    server = world.redis[0] if world.form is Form.REDIS else chance.choice(world.redis)
    server.stop()
    try:
        yield
    finally:
        await asyncio.to_thread(server.start)


@asynccontextmanager
async def _redis_flushed(world: World, _: random.Random) -> AsyncIterator[None]:
    for server in _writable(world):
        await asyncio.to_thread(redis_command, server.port, "FLUSHALL")
    yield


@asynccontextmanager
async def _redis_older(world: World, chance: random.Random) -> AsyncIterator[None]:
    """What it held when the fault began comes back when it ends."""
    server = chance.choice(world.redis)
    await asyncio.to_thread(redis_command, server.port, "SAVE")
    try:
        yield
    finally:
        server.stop()
        await asyncio.to_thread(server.start)


def _redis_set(name: str, wrong: str, right: str) -> Callable[[World, random.Random], Context]:
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
async def _redis_clients_killed(world: World, _: random.Random) -> AsyncIterator[None]:
    for server in world.redis:
        await asyncio.to_thread(redis_command, server.port, "CLIENT", "KILL", "TYPE", "normal")
        await asyncio.to_thread(redis_command, server.port, "CLIENT", "KILL", "TYPE", "pubsub")
    yield


@asynccontextmanager
async def _redis_unheard(world: World, chance: random.Random) -> AsyncIterator[None]:
    relay = world.pick(chance).to_redis
    assert relay is not None
    relay.deafen()
    try:
        yield
    finally:
        await relay.mend()


def _writable(world: World) -> list[RedisServer]:
    return [
        server
        for server in world.redis
        if b"role:master" in redis_command(server.port, "INFO", "replication")
    ]


_LINKS: Final[Mapping[str, Link]] = {
    "slow": Link(delay=0.3),
    "throttled": Link(rate=4096),
    "stalled": Link(stalled=True),
    "unanswered": Link(silent=True),
    "cut after 3 kB": Link(cut_after=3000),
    "ignored": Link(accepting=Accepting.IGNORE),
}

FAULTS: Final = (
    Fault("Harness refused", _linked(Link(accepting=Accepting.REFUSE), reset=True), Touches.ANSWERS),
    Fault("Harness reset", _linked(Link(accepting=Accepting.RESET), reset=True), Touches.ANSWERS),
    *(Fault(f"Harness {name}", _linked(link), Touches.ANSWERS) for name, link in _LINKS.items()),
    Fault("Harness half closed", _half_closed, Touches.ANSWERS),
    Fault("Harness gone", _saas_gone, Touches.ANSWERS),
    Fault("Harness 500", _answered(status=500)),
    Fault("Harness 502", _answered(status=502, body="html")),
    Fault("Harness 429", _answered(status=429, retryAfter=1)),
    Fault("Harness garbage", _answered(body="garbage"), Touches.ANSWERS),
    Fault("Harness empty", _answered(body="empty"), Touches.ANSWERS),
    Fault("Harness cut short", _answered(body="truncated"), Touches.ANSWERS),
    Fault("Harness hangs", _answered(connection="hang"), Touches.ANSWERS),
    Fault("Harness late", _answered(delayMs=700)),
    Fault("streams cut", _streams_cut),
    Fault("streams garbled", _streams_garbled),
    Fault("member killed", _killed, Touches.PROCESSES | Touches.LIVES | Touches.ANSWERS),
    Fault("member restarted", _restarted, Touches.LIVES | Touches.ANSWERS),
    Fault("member frozen", _frozen, Touches.ANSWERS),
    Fault("process killed", _process_killed, Touches.PROCESSES | Touches.ANSWERS, frozenset({Form.WORKERS})),
    Fault("disk full", _disk_full, Touches.STORE, _FILES),
    Fault(
        "Redis refused",
        _redis_linked(Link(accepting=Accepting.REFUSE), reset=True),
        Touches.STORE | Touches.ANSWERS,
        frozenset({Form.REDIS}),
    ),
    Fault(
        "Redis reset",
        _redis_linked(Link(accepting=Accepting.RESET), reset=True),
        Touches.STORE | Touches.ANSWERS,
        frozenset({Form.REDIS}),
    ),
    *(
        Fault(f"Redis {name}", _redis_linked(link), Touches.STORE | Touches.ANSWERS, frozenset({Form.REDIS}))
        for name, link in _LINKS.items()
    ),
    Fault("Redis unheard", _redis_unheard, Touches.NOTHING, frozenset({Form.REDIS})),
    Fault("Redis frozen", _redis_frozen, Touches.STORE | Touches.ANSWERS, _FLEETS),
    Fault("Redis restarted", _redis_restarted, Touches.STORE | Touches.ANSWERS | Touches.EMPTIES, _FLEETS),
    Fault("Redis flushed", _redis_flushed, Touches.STORE | Touches.ANSWERS | Touches.EMPTIES, _FLEETS),
    Fault(
        "Redis older",
        _redis_older,
        Touches.STORE | Touches.ANSWERS | Touches.EMPTIES,
        frozenset({Form.REDIS}),
    ),
    Fault(
        "Redis full",
        _redis_set("maxmemory", "1", "0"),
        Touches.STORE | Touches.ANSWERS | Touches.EMPTIES,
        _FLEETS,
    ),
    Fault(
        "Redis without replicas",
        _redis_set("min-replicas-to-write", "9", "0"),
        Touches.STORE | Touches.ANSWERS,
        _FLEETS,
    ),
    Fault("Redis clients killed", _redis_clients_killed, Touches.ANSWERS, _FLEETS),
)


def of(form: Form) -> list[Fault]:
    """Those that a form can have."""
    return [fault for fault in FAULTS if form in fault.forms]
