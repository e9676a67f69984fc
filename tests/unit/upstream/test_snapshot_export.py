"""Collecting everything once: all of it, or the names of what is missing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from ff_proxy.errors import UpstreamUnavailable
from ff_proxy.model.keys import EnvironmentId, SdkKey
from ff_proxy.model.target import Target
from ff_proxy.upstream.snapshot_export import ExportedEnvironment, SnapshotExporter
from tests.support.saas import ENV, HTML, KEY, error, flag_doc, reply, segment_doc
from tests.unit.upstream.world import World, running

OTHER = EnvironmentId("9c1f0f6e-0000-4000-8000-000000000002")
OTHER_KEY = SdkKey("other-server-key")


async def collect(world: World, *keys: SdkKey) -> tuple[ExportedEnvironment, ...]:
    """Everything, with as much time as it takes."""
    collector = SnapshotExporter(
        api=world.api, admin=world.admin, telemetry=world.telemetry, schedule=world.schedule
    )
    found: list[tuple[ExportedEnvironment, ...]] = []

    async def work() -> None:
        found.append(await collector.collect(keys))

    async with running(work()) as task:
        await world.clock.advance(120)
        assert task.done()
        task.result()
    return found[0]


async def test_everything(world: World) -> None:
    """Flags, segments, keys and targets of each environment, once."""
    environment = world.saas.environment(OTHER, OTHER_KEY, SdkKey("client-key"))
    environment.put_flag(flag_doc("f", 3))
    environment.put_segment(segment_doc("s"))
    environment.targets.append({"identifier": "anna"})
    world.saas.keys.pop("client-key")
    first, second = await collect(world, OTHER_KEY, KEY, OTHER_KEY)
    assert (first.config.id, second.config.id) == (ENV, OTHER)
    assert (first.config.flags, first.targets) == ({}, ())
    assert second.config.flags["f"].version == 3
    assert set(second.config.segments) == {"s"}
    assert second.config.keys == {OTHER_KEY.hash, SdkKey("client-key").hash}
    assert second.targets == (Target("anna", "anna"),)
    assert second.config.info.identifier == "production"


async def test_configured_key_that_is_not_listed(world: World) -> None:
    """SaaS accepted it."""
    world.saas.environments[ENV].hashes.clear()
    (collected,) = await collect(world, KEY)
    assert collected.config.keys == {KEY.hash}


async def test_passing_trouble_is_waited_out(world: World) -> None:
    """A few tries each."""
    for route in ("/client/auth", "/client/env/{env}/feature-configs", "/admin/apikey", "/admin/targets"):
        world.saas.next[route] = [error(500), HTML]
    assert len(await collect(world, KEY)) == 1


@pytest.mark.parametrize(
    "route",
    [
        "/client/auth",
        "/client/env/{env}/feature-configs",
        "/client/env/{env}/target-segments",
        "/admin/apikey",
        "/admin/targets",
    ],
)
@pytest.mark.parametrize("answer", [error(500), error(403), HTML])
async def test_anything_missing_is_an_error(world: World, route: str, answer: object) -> None:
    """And nothing is returned."""
    world.saas.always[route] = answer  # type: ignore[assignment]  # the parameter's type is the test's
    with pytest.raises(UpstreamUnavailable, match="not everything could be fetched"):
        await collect(world, KEY)


async def test_partial_listing_is_an_error(world: World) -> None:
    """A directory without some keys would lock their bearers out."""
    world.saas.always["/admin/apikey"] = reply({"apiKeys": [], "itemCount": 3, "pageCount": 1})
    with pytest.raises(UpstreamUnavailable, match=f"environment {ENV}: the listing of keys is partial"):
        await collect(world, KEY)


async def test_every_problem_is_named(world: World) -> None:
    """By environment, or by a masked key."""
    world.saas.always["/admin/targets"] = error(500)
    with pytest.raises(UpstreamUnavailable) as caught:
        await collect(world, SdkKey("unknown-server-key"), KEY)
    assert "key unkn***" in str(caught.value)
    assert f"environment {ENV}" in str(caught.value)
    assert "unknown-server-key" not in str(caught.value)


@asynccontextmanager
async def collecting(world: World) -> AsyncIterator[list[str]]:
    """Collecting, in the background; how it ends is put into the list."""
    ended: list[str] = []
    collector = SnapshotExporter(
        api=world.api, admin=world.admin, telemetry=world.telemetry, schedule=world.schedule
    )

    async def work() -> None:
        try:
            await collector.collect([KEY])
        except UpstreamUnavailable as error:
            ended.append(str(error))
        else:
            ended.append("")

    async with running(work()):
        yield ended


def waits(world: World) -> list[str]:
    """What the log says is waited for."""
    return [str(line["waits"]) for line in world.said("waiting for Harness")]


async def test_what_is_waited_for_is_said(world: World) -> None:
    """After a second, and every five while something hangs, with the try; then no more."""
    gate = world.saas.gates["/admin/targets"] = asyncio.Event()
    async with collecting(world) as ended:
        await world.clock.advance(11)
        assert waits(world) == [f"['targets of production: {seconds} s, try 1']" for seconds in (1, 6, 11)]
        assert world.said("waiting for Harness")[-1]["done"] == 4
        gate.set()
        await world.clock.advance(20)
        assert ended == [""]
    assert len(waits(world)) == 3


async def test_why_a_try_failed_is_said(world: World) -> None:
    """As a warning, with the key masked."""
    world.saas.down = True
    async with collecting(world) as ended:
        await world.clock.advance(120)
        assert "connection refused" in ended[0]
    said = world.said("waiting for Harness")
    assert {line["level"] for line in said} == {"warning"}
    assert f"key {KEY.masked}: 1 s, try " in waits(world)[0]
    assert "the last one: connection refused" in waits(world)[0]
    assert KEY.reveal() not in world.log
