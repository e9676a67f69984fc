"""Fixtures of this room's tests."""

from collections.abc import AsyncIterator

import pytest

from tests.support.saas import ENV, flag_doc
from tests.unit.upstream.refreshing import Work
from tests.unit.upstream.world import World, running


@pytest.fixture
def world() -> World:
    """SaaS with one empty environment, an empty store, a stopped clock."""
    made = World()
    made.saas.environment()
    return made


@pytest.fixture
async def work(world: World) -> AsyncIterator[Work]:
    """Running, with the flags a and b held."""
    world.saas.environments[ENV].put_flag(flag_doc("a"))
    world.saas.environments[ENV].put_flag(flag_doc("b"))
    made = Work(world, await world.credentials())
    async with running(made.refresher.run()):
        await made.everything()
        yield made
