"""Members and their processes die, sleep, or are started again."""

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from tests.chaos.world import Member, World
from tests.support.workers import SYNC, pids


def _start(member: Member, world: World) -> None:
    """Let a member start by itself: whoever waits for the end of a fault does not wait for that too."""
    world.rising.append(asyncio.create_task(member.rise()))


@asynccontextmanager
async def killed(world: World, chance: random.Random) -> AsyncIterator[None]:
    """``kill -9`` of one, which is started again when the trouble is over."""
    member = _going(world, chance)
    if member is None:
        yield
        return
    await member.kill()
    try:
        yield
    finally:
        _start(member, world)


@asynccontextmanager
async def restarted(world: World, chance: random.Random) -> AsyncIterator[None]:
    """One ends in order, and is started again at once."""
    member = _going(world, chance)
    if member is not None:
        await member.stop()
        _start(member, world)
    yield


def _going(world: World, chance: random.Random) -> Member | None:
    """A member that serves and may go: another one stays."""
    serving = [member for member in world.members if member.life]
    if not serving or (world.form.fleet and len(serving) < 2):
        return None
    return chance.choice(serving)


@asynccontextmanager
async def frozen(world: World, chance: random.Random) -> AsyncIterator[None]:
    """One gets no processor time."""
    member = _going(world, chance)
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
async def process_killed(world: World, chance: random.Random) -> AsyncIterator[None]:
    """``kill -9`` of a worker or of the sync process."""
    member = world.members[0]
    if member.life:
        name = chance.choice((SYNC, "worker-1", "worker-2"))
        world.tear()
        with suppress(ProcessLookupError):
            os.kill(pids(member.proxy)[name], signal.SIGKILL)
    yield
