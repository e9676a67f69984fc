"""Polling targets: what is listed is stored, nothing else changes."""

import pytest

from ff_proxy.model.target import Target
from ff_proxy.upstream.context import SyncIntervals
from ff_proxy.upstream.listings import TargetPoll
from tests.support.saas import ENV, error
from tests.unit.upstream.world import AWAY, BACK, ENVIRONMENT, World, running


@pytest.fixture
async def poll(world: World) -> TargetPoll:
    """A poll over the world, every ten seconds."""
    world.saas.environments[ENV].targets[:] = [{"identifier": "anna", "attributes": {"age": 7}}]
    return TargetPoll(world.context(SyncIntervals(targets=10.0)), await world.credentials())


async def test_listed_targets_are_stored(world: World, poll: TargetPoll) -> None:
    """Others stay."""
    await world.targets.put(ENVIRONMENT, Target("bob"))
    await poll.refresh()
    assert await world.targets.get(ENVIRONMENT, "anna") == Target("anna", "anna", {"age": 7})
    assert await world.targets.get(ENVIRONMENT, "bob") == Target("bob")


async def test_failure_is_said_once_and_recovered_from(world: World, poll: TargetPoll) -> None:
    """Nothing is lost meanwhile."""
    await poll.refresh()
    world.saas.always["/admin/targets"] = error(500)
    await poll.refresh()
    await poll.refresh()
    assert len(world.said(AWAY)) == 1
    assert await world.targets.get(ENVIRONMENT, "anna") is not None
    world.saas.always.clear()
    await poll.refresh()
    assert len(world.said(BACK)) == 1


async def test_runs_at_its_interval(world: World, poll: TargetPoll) -> None:
    """At once, then again and again."""
    async with running(poll.run()):
        await world.clock.advance(25)
        assert world.saas.count("/admin/targets") == 3
