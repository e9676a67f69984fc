"""One environment: followed while its stream lives, polled while it does not, whatever happens."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from ff_proxy.errors import UpstreamUnavailable
from ff_proxy.model.environment import StreamState
from ff_proxy.model.keys import KeyVerdict, hash_key
from ff_proxy.model.target import Target
from ff_proxy.upstream.context import SyncIntervals
from ff_proxy.upstream.environment import Environment
from tests.support.saas import ENV, HTML, KEY, FakeStream, error, flag_doc
from tests.unit.upstream.world import ENVIRONMENT, World, running

FLAGS = "/client/env/{env}/feature-configs"

Started = AbstractAsyncContextManager[Environment]
Start = Callable[[SyncIntervals], Started]


@pytest.fixture
def start(world: World) -> Start:
    """Runs the world's environment at a pace; SaaS holds the flag a."""
    world.saas.environments[ENV].put_flag(flag_doc("a"))

    @asynccontextmanager
    async def started(intervals: SyncIntervals) -> AsyncIterator[Environment]:
        credentials = await world.credentials()
        held = await world.configs.environment(ENVIRONMENT)
        environment = Environment(world.context(intervals), credentials, held)
        async with running(environment.run()):
            await world.clock.settle()
            yield environment

    return started


async def state(world: World) -> StreamState:
    """What ``/health`` says."""
    return (await world.configs.statuses())[ENVIRONMENT].state


def stream(world: World) -> FakeStream:
    """The newest stream."""
    return world.saas.streams[-1]


async def test_comes_up(world: World, start: Start) -> None:
    """Connected first, then fetched, once."""
    async with start(SyncIntervals()) as environment:
        assert environment.loaded
        assert environment.problem == ""
        assert await state(world) is StreamState.CONNECTED
        routes = [request.route for request in world.saas.requests]
        assert routes.index("/stream") < routes.index(FLAGS)
        await world.clock.advance(30)
        assert world.saas.count(FLAGS) == 1


async def test_event_to_store(world: World, start: Start) -> None:
    """Without a delay."""
    async with start(SyncIntervals()):
        world.saas.environments[ENV].put_flag(flag_doc("a", 2))
        stream(world).event("patch", "a", 2)
        await world.clock.settle()
        assert await world.versions() == {"a": 2}
        assert "ff_proxy_saas_events_total" in world.telemetry.exposition().decode()


async def test_burst_in_pieces(world: World, start: Start) -> None:
    """However the bytes are split."""
    async with start(SyncIntervals()):
        text = "".join(
            f'data: {{"event":"create","domain":"flag","identifier":"n{number}","version":1}}\r\n\r\n'
            for number in range(10)
        )
        for number in range(10):
            world.saas.environments[ENV].put_flag(flag_doc(f"n{number}"))
        for at in range(0, len(text), 7):
            stream(world).say(text[at : at + 7])
        for _ in range(20):
            await world.clock.settle()
        assert len(await world.versions()) == 11


async def test_delete_event(world: World, start: Start) -> None:
    """The flag is removed."""
    async with start(SyncIntervals()):
        stream(world).event("delete", "a", 2)
        await world.clock.settle()
        assert await world.versions() == {}


async def test_unusable_events(world: World, start: Start) -> None:
    """Foreign ones are ignored; an unreadable one may hide a change."""
    async with start(SyncIntervals()):
        stream(world).say('data: {"domain":"proxy","event":"apiKeyAdded"}\n\n')
        await world.clock.settle()
        assert world.saas.count(FLAGS) == 1
        stream(world).say('data: {"domain":"fl\n\n')
        await world.clock.settle()
        assert world.saas.count(FLAGS) == 2
        assert await state(world) is StreamState.CONNECTED


async def test_broken_stream_reconnects_within_a_second(world: World, start: Start) -> None:
    """A full fetch finds changes made meanwhile."""
    async with start(SyncIntervals()) as environment:
        await world.clock.advance(15)
        stream(world).end(UpstreamUnavailable("reset"))
        await world.clock.settle()
        assert await state(world) is StreamState.DISCONNECTED
        assert "stream down: reset" in environment.problem
        world.saas.environments[ENV].flags.clear()
        world.saas.environments[ENV].put_flag(flag_doc("b"))
        await world.clock.advance(1)
        assert await state(world) is StreamState.CONNECTED
        assert await world.versions() == {"a": 1, "b": 1}
        assert "missing from Harness's list" in environment.problem
        await world.clock.advance(4)
        assert await world.versions() == {"b": 1}
        assert environment.problem == ""
        assert len(world.saas.streams) == 2
        assert world.saas.streams[0].closed


async def test_ended_stream_reconnects(world: World, start: Start) -> None:
    """A clean end is an end."""
    async with start(SyncIntervals()):
        await world.clock.advance(15)
        stream(world).end()
        await world.clock.advance(1)
        assert len(world.saas.streams) == 2


async def test_polls_while_the_stream_is_down(world: World, start: Start) -> None:
    """At the interval, and not once it is back."""
    async with start(SyncIntervals(poll=10.0)):
        world.saas.streaming = False
        stream(world).end(UpstreamUnavailable("reset"))
        await world.clock.advance(15)
        world.saas.environments[ENV].put_flag(flag_doc("a", 2))
        await world.clock.advance(11)
        assert await world.versions() == {"a": 2}
        world.saas.streaming = True
        await world.clock.advance(31)
        assert await state(world) is StreamState.CONNECTED
        fetched = world.saas.count(FLAGS)
        await world.clock.advance(60)
        assert world.saas.count(FLAGS) == fetched


async def test_a_server_that_accepts_and_hangs_up_gets_backoff(world: World, start: Start) -> None:
    """Although each connection succeeds."""
    async with start(SyncIntervals()):
        for _ in range(200):
            for open_stream in world.saas.streams:
                if not open_stream.closed:
                    open_stream.end()
            await world.clock.advance(1)
        assert world.saas.count("/stream") < 15


async def test_silent_stream(world: World, start: Start) -> None:
    """Something buffers it: it is polled as if it were down, and the log says what to do."""
    world.saas.heartbeat = False
    async with start(SyncIntervals(poll=10.0, idle=45.0)):
        world.saas.environments[ENV].put_flag(flag_doc("a", 2))
        await world.clock.advance(25)
        assert await world.versions() == {"a": 2}
        await world.clock.advance(25)
        stream(world).end(UpstreamUnavailable("silent"))
        await world.clock.settle()
        assert "flag-stream-enabled" in world.log


async def test_no_stream_at_start(world: World, start: Start) -> None:
    """SDKs still get their flags."""
    world.saas.streaming = False
    async with start(SyncIntervals()) as environment:
        assert environment.loaded
        assert await state(world) is StreamState.DISCONNECTED


async def test_page_instead_of_a_stream(world: World, start: Start) -> None:
    """A middlebox answers; the environment is polled."""
    world.saas.always["/stream"] = HTML
    async with start(SyncIntervals()) as environment:
        await world.clock.advance(2)
        assert environment.loaded
        assert "not a stream" in environment.problem


async def test_polling_only(world: World, start: Start) -> None:
    """flag-stream-enabled=false: no stream is ever opened."""
    async with start(SyncIntervals(stream=False, poll=10.0)) as environment:
        assert environment.loaded
        assert environment.problem == ""
        world.saas.environments[ENV].put_flag(flag_doc("a", 2))
        await world.clock.advance(11.5)
        assert await world.versions() == {"a": 2}
        assert world.saas.count("/stream") == 0
        status = (await world.configs.statuses())[ENVIRONMENT]
        assert (status.state, status.detail) == (StreamState.DISCONNECTED, "polling every 10 seconds")


async def test_polling_says_when_it_is_refused(world: World, start: Start) -> None:
    """There is no stream to say so."""
    async with start(SyncIntervals(stream=False, poll=10.0)) as environment:
        world.saas.keys.clear()
        world.saas.expire_tokens()
        await world.clock.advance(11.5)
        assert environment.refused
        assert (await world.configs.statuses())[ENVIRONMENT].refused


async def test_connected_environment_is_fetched_periodically(world: World, start: Start) -> None:
    """Harness may lose an event."""
    async with start(SyncIntervals(poll=60.0, resync=900.0)):
        world.saas.environments[ENV].put_flag(flag_doc("a", 2))
        await world.clock.advance(800)
        assert await world.versions() == {"a": 1}
        await world.clock.advance(200)
        assert await world.versions() == {"a": 2}


async def test_expired_token_on_the_stream(world: World, start: Start) -> None:
    """A new one is used within a second."""
    async with start(SyncIntervals()):
        await world.clock.advance(15)
        world.saas.expire_tokens()
        stream(world).end()
        await world.clock.advance(3)
        assert await state(world) is StreamState.CONNECTED


async def test_revoked_key(world: World, start: Start) -> None:
    """Said so, tried slowly, what is held stays; and all is well when it comes back."""
    async with start(SyncIntervals()) as environment:
        await world.clock.advance(15)
        world.saas.keys.clear()
        world.saas.expire_tokens()
        stream(world).end()
        await world.clock.advance(2)
        status = (await world.configs.statuses())[ENVIRONMENT]
        assert status.refused
        assert status.state is StreamState.DISCONNECTED
        assert environment.loaded
        asked = world.saas.count("/client/auth")
        await world.clock.advance(50)
        assert world.saas.count("/client/auth") <= asked + 3
        world.saas.environment()
        await world.clock.advance(200)
        assert await state(world) is StreamState.CONNECTED
        assert not (await world.configs.statuses())[ENVIRONMENT].refused


async def test_stored_environment_is_loaded_from_the_start(world: World, start: Start) -> None:
    """SaaS may be away; the keys known last time stay."""
    other = hash_key("other")
    world.saas.environments[ENV].hashes.append(other)
    async with start(SyncIntervals()):
        pass
    world.saas.always = {FLAGS: error(500), "/admin/apikey": error(500), "/stream": error(500)}
    async with start(SyncIntervals()) as environment:
        assert environment.loaded
        assert (await world.config()).keys == {KEY.hash, other}
        await world.clock.advance(5)
        assert "not up to date" in environment.problem
        assert "keys not refreshed" in environment.problem


async def test_keys_come_with_the_first_load(world: World, start: Start) -> None:
    """Or right after it."""
    other = hash_key("other")
    world.saas.environments[ENV].hashes.append(other)
    async with start(SyncIntervals()):
        assert (await world.config()).keys == {KEY.hash, other}


async def test_admin_service_that_hangs_delays_nothing(world: World, start: Start) -> None:
    """Flags are served with the configured key."""
    world.saas.gates["/admin/apikey"] = asyncio.Event()
    async with start(SyncIntervals()) as environment:
        assert environment.loaded
        assert (await world.config()).keys == {KEY.hash}


async def test_targets_are_polled_if_asked_for(world: World, start: Start) -> None:
    """And not otherwise."""
    world.saas.environments[ENV].targets.append({"identifier": "anna"})
    async with start(SyncIntervals()):
        assert world.saas.count("/admin/targets") == 0
    async with start(SyncIntervals(targets=60.0)):
        assert await world.targets.get(ENVIRONMENT, "anna") == Target("anna", "anna")


async def test_accepted_key_is_stored_at_once(world: World, start: Start) -> None:
    """Its bearer is served right away."""
    async with start(SyncIntervals()) as environment:
        assert await environment.accept(hash_key("new")) is KeyVerdict.ACCEPTED
        assert hash_key("new") in (await world.config()).keys
        world.configs.away = True
        assert await environment.accept(hash_key("newer")) is KeyVerdict.UNAVAILABLE
        world.configs.away = False


async def test_accepted_key_before_the_first_load(world: World, start: Start) -> None:
    """Its bearer has to come again; then it is there."""
    gate = world.saas.gates[FLAGS] = asyncio.Event()
    async with start(SyncIntervals()) as environment:
        assert await environment.accept(hash_key("new")) is KeyVerdict.UNAVAILABLE
        gate.set()
        await world.clock.settle()
        assert hash_key("new") in (await world.config()).keys


async def test_emptied_store_is_filled_again(world: World, start: Start) -> None:
    """At the next listing of keys at the latest."""
    async with start(SyncIntervals()):
        await world.configs.remove(ENVIRONMENT)
        await world.clock.advance(70)
        assert await world.versions() == {"a": 1}


async def test_out_of_touch(world: World, start: Start) -> None:
    """Neither heard nor asked: known within the time of relief, though polls are far apart."""
    async with start(SyncIntervals(poll=600.0, relief=15.0)) as environment:
        await world.clock.advance(300)
        assert environment.response_tracker.unanswered_for == 0.0
        before = world.saas.count(FLAGS)
        world.saas.down = True
        stream(world).end(UpstreamUnavailable("reset"))
        await world.clock.advance(20)
        assert world.saas.count(FLAGS) > before
        assert environment.response_tracker.unanswered_for > 0.0
        await world.clock.advance(30)
        assert environment.response_tracker.unanswered_for > 45.0
        world.saas.down = False
        await world.clock.advance(120)
        assert environment.response_tracker.unanswered_for == 0.0


async def test_a_stream_that_is_down_alone(world: World, start: Start) -> None:
    """Does not put an environment out of touch, and is no reason to ask more often than polls do."""
    async with start(SyncIntervals(poll=600.0, relief=15.0)) as environment:
        await world.clock.advance(300)
        world.saas.streaming = False
        stream(world).end(UpstreamUnavailable("reset"))
        before = world.saas.count(FLAGS)
        await world.clock.advance(200)
        assert environment.response_tracker.unanswered_for == 0.0
        assert world.saas.count(FLAGS) == before + 1
