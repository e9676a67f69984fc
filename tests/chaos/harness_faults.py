"""Trouble with Harness, and on the way to it."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

import msgspec

from ff_proxy.model.environment import Action, Change, Domain
from ff_proxy.sandbox.faults import Fault as Answer
from ff_proxy.sandbox.wire import event_record
from tests.chaos.fault import Begin
from tests.chaos.truth import ENVIRONMENTS, TICK
from tests.chaos.world import World
from tests.support.relay import Link, Relay

ROUTES: Final = ("auth", "flags", "flag", "segments", "stream", "usage", "admin-keys", "*")
READS: Final = ("auth", "flags", "flag", "segments", "stream", "admin-keys")
NOISE: Final = (
    b"event: *\ndata: {half",
    b'data: "text"\n\n',
    b"\xff\xfe\n\n",
    b"x" * 70_000,
    b"data: []\n\n",
)
_TURN: Final = 0.3


def linked(link: Link, *, reset: bool = False, turns: bool = False) -> Begin:
    """One member's way to Harness; open connections are reset if so wished; ``turns``: it comes and goes."""

    @asynccontextmanager
    async def begin(world: World, chance: random.Random) -> AsyncIterator[None]:
        relay = world.pick(chance).to_saas
        await relay.set(link)
        if reset:
            relay.reset()
        turning = asyncio.create_task(_turning(relay, link)) if turns else None
        try:
            yield
        finally:
            if turning is not None:
                turning.cancel()
            await relay.mend()

    return begin


async def _turning(relay: Relay, link: Link) -> None:
    while True:
        await asyncio.sleep(_TURN)
        await relay.mend()
        await asyncio.sleep(_TURN)
        await relay.set(link)
        relay.reset()


def answered(*routes: str, everywhere: bool = False, cut: bool = False, **fields: object) -> Begin:
    """One of these routes of Harness answers otherwise (of all, if none is named); or each, ``everywhere``.

    ``cut``: streams end first, so that everything has to be asked for again.
    """

    @asynccontextmanager
    async def begin(world: World, chance: random.Random) -> AsyncIterator[None]:
        chosen = routes if everywhere else (chance.choice(routes or ROUTES),)
        for route in chosen:
            world.saas.faults.add(msgspec.convert({"route": route} | fields, Answer))
        if cut:
            world.saas.streams.cut(how="reset")
        try:
            yield
        finally:
            for route in chosen:
                world.saas.clear_faults(route)

    return begin


def in_turns(begin: Begin) -> Begin:
    """The same trouble, coming and going."""

    async def turning(world: World, chance: random.Random) -> None:
        while True:
            async with begin(world, chance):
                await asyncio.sleep(_TURN)
            await asyncio.sleep(_TURN)

    @asynccontextmanager
    async def begin_turning(world: World, chance: random.Random) -> AsyncIterator[None]:
        task = asyncio.create_task(turning(world, chance))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])

    return begin_turning


@asynccontextmanager
async def gone(world: World, _: random.Random) -> AsyncIterator[None]:
    """Nobody listens, and what was open is reset."""
    world.saas.down()
    try:
        yield
    finally:
        await world.saas.up()


@asynccontextmanager
async def half_closed(world: World, chance: random.Random) -> AsyncIterator[None]:
    """What Harness sends on open connections ends, and nothing else."""
    world.pick(chance).to_saas.half_close()
    yield


@asynccontextmanager
async def streams_cut(world: World, chance: random.Random) -> AsyncIterator[None]:
    """Every stream ends, in order or not."""
    world.saas.streams.cut(how=chance.choice(("eof", "reset")))
    yield


@asynccontextmanager
async def streams_muted(world: World, _: random.Random) -> AsyncIterator[None]:
    """A network has forgotten them: nothing comes, what is announced is lost, and then they are reset."""
    world.saas.streams.mute()
    try:
        yield
    finally:
        world.saas.streams.cut(how="reset")
        world.saas.streams.unmute()


def streams_garbled(noise: Sequence[bytes] = NOISE) -> Begin:
    """Something that is no event comes on every stream, which then ends."""

    @asynccontextmanager
    async def begin(world: World, chance: random.Random) -> AsyncIterator[None]:
        world.saas.streams.send(None, chance.choice(noise))
        world.saas.streams.cut()
        yield

    return begin


@asynccontextmanager
async def announced_early(world: World, _: random.Random) -> AsyncIterator[None]:
    """Changes are announced that can be read only when it is over, and are not announced again."""
    for environment in ENVIRONMENTS:
        change = Change(Action.PATCH, Domain.FLAG, TICK, world.truth.version(environment) + 1)
        world.saas.streams.send(world.saas.state.find(environment).info.id, event_record(change))
    try:
        yield
    finally:
        for environment in ENVIRONMENTS:
            world.truth.tick(environment, announce=False)
