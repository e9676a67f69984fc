"""Status: written when it changes, told in the log and the figures."""

from ff_proxy.model.environment import StreamState, UpstreamStatus
from ff_proxy.upstream.status_reporter import StatusReporter
from tests.unit.upstream.world import ENVIRONMENT, STORE_BACK, World


def reporter(world: World) -> StatusReporter:
    """A reporter over the world."""
    return StatusReporter(ENVIRONMENT, world.configs, world.clock, world.telemetry, lambda: world.trouble)


async def stored(world: World) -> UpstreamStatus:
    """What everyone reads."""
    return (await world.configs.statuses())[ENVIRONMENT]


async def test_since_moves_with_the_state_only(world: World) -> None:
    """In milliseconds since the epoch."""
    status = reporter(world)
    await status.report(StreamState.DISCONNECTED, "one reason")
    since = int(world.clock.wall() * 1000)
    await world.clock.advance(5)
    await status.report(StreamState.DISCONNECTED, "another", refused=True)
    assert await stored(world) == UpstreamStatus(
        StreamState.DISCONNECTED, since, refused=True, detail="another"
    )
    await status.report(StreamState.CONNECTED)
    now = since + 5000
    assert await stored(world) == UpstreamStatus(StreamState.CONNECTED, now, confirmed=now)
    assert status.current == await stored(world)


async def test_log_and_gauge(world: World) -> None:
    """A change is one line; saying it again is none."""
    status = reporter(world)
    for _ in range(3):
        await status.report(StreamState.CONNECTED)
    assert world.log.count("upstream connected") == 1
    assert f'ff_proxy_stream_health{{envID="{ENVIRONMENT}"}} 1.0' in world.telemetry.exposition().decode()
    await status.report(StreamState.DISCONNECTED, "gone")
    assert world.log.count("upstream disconnected") == 1
    assert f'ff_proxy_stream_health{{envID="{ENVIRONMENT}"}} 0.0' in world.telemetry.exposition().decode()
    await status.report(StreamState.CONNECTED)
    status.end()
    assert f'ff_proxy_stream_health{{envID="{ENVIRONMENT}"}} 0.0' in world.telemetry.exposition().decode()


async def test_how_old_the_data_is(world: World) -> None:
    """Nothing while all is well, then since that ended; without a stream since the last poll."""
    status = reporter(world)
    await status.report(StreamState.CONNECTED)
    await world.clock.advance(500)
    assert (await stored(world)).data_age(world.clock.wall()) == 0
    await status.report(StreamState.DISCONNECTED, "gone")
    await world.clock.advance(100)
    await status.report(StreamState.DISCONNECTED, "still gone")
    assert (await stored(world)).data_age(world.clock.wall()) == 100
    await status.report(StreamState.CONNECTED)
    world.trouble = "flags not fetched"
    await status.repeat()
    await world.clock.advance(7)
    assert (await stored(world)).data_age(world.clock.wall()) == 7
    await status.report(StreamState.DISCONNECTED, "polling", polled=True)
    await world.clock.advance(3)
    assert (await stored(world)).data_age(world.clock.wall()) == 3


async def test_a_reader_knows_the_age_without_the_writer(world: World) -> None:
    """To within half a minute, and without a write each time that nothing has changed."""
    status = reporter(world)
    await status.report(StreamState.CONNECTED)
    for _ in range(100):
        await world.clock.advance(10)
        await status.repeat()
        assert world.clock.wall() * 1000 - (await stored(world)).confirmed <= 30_000


async def test_store_that_is_away(world: World) -> None:
    """The status is written once it is back."""
    status = reporter(world)
    world.configs.away = True
    await status.report(StreamState.CONNECTED)
    world.configs.away = False
    await status.report(StreamState.CONNECTED)
    assert (await stored(world)).state is StreamState.CONNECTED
    assert len(world.said(STORE_BACK)) == 1


async def test_trouble_beside_the_stream(world: World) -> None:
    """Is written when it comes and when it goes, and no more often."""
    status = reporter(world)
    await status.report(StreamState.CONNECTED)
    world.trouble = "keys not refreshed"
    await status.repeat()
    assert await stored(world) == status.current
    assert (status.current.state, status.current.trouble) == (StreamState.CONNECTED, "keys not refreshed")
    world.configs.away = True
    await status.repeat()
    world.trouble = ""
    await status.repeat()
    world.configs.away = False
    await status.repeat()
    assert (await stored(world)).trouble == ""
