"""The time that Harness asks to wait is waited by every caller, whatever it asks Harness for."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ff_proxy.model.keys import EnvironmentId, KeyVerdict, SdkKey, SdkKeyHash
from ff_proxy.upstream.key_checks import KeyChecker
from ff_proxy.upstream.transport import Reply
from tests.support.saas import ENV, JSON, KEY, flag_doc, segment_doc
from tests.support.thorough import examples
from tests.unit.upstream.world import Fleet, World, running

AUTH = "/client/auth"
LISTS = ("/client/env/{env}/feature-configs", "/client/env/{env}/target-segments")
# No caller waits longer than this by itself.
LONGEST_SECONDS = 120


def announce(world: World, domain: str, identifier: str) -> None:
    """An event about an item that has changed."""
    world.saas.environments[ENV].put_flag(flag_doc("flag", 2))
    world.saas.environments[ENV].put_segment(segment_doc("group", 2))
    world.saas.streams[-1].event("patch", identifier, 2, domain)


def at_once(_: World) -> None:
    """It is asked for as soon as the service runs."""


CALLERS: dict[str, Callable[[World], None]] = {
    AUTH: at_once,
    "/stream": at_once,
    **dict.fromkeys(LISTS, at_once),
    f"{LISTS[0]}/{{id}}": lambda world: announce(world, "flag", "flag"),
    f"{LISTS[1]}/{{id}}": lambda world: announce(world, "target-segment", "group"),
    "/admin/apikey": at_once,
    "/admin/targets": at_once,
}
"""What makes the service ask for each route."""


def asks_to_wait(seconds: int, status: int) -> Reply:
    """Harness's answer."""
    return Reply(status, JSON | {"retry-after": str(seconds)}, b"{}")


def play(test: Callable[[World], Coroutine[Any, Any, None]]) -> None:
    """Run ``test`` in a world with one environment that has a flag and a target group."""

    async def run() -> None:
        world = World()
        held = world.saas.environment()
        held.put_flag(flag_doc("flag"))
        held.put_segment(segment_doc("group"))
        await test(world)

    asyncio.run(run())


@pytest.mark.parametrize("route", CALLERS)
@settings(max_examples=examples(0.2))
@given(seconds=st.integers(10, 300), status=st.sampled_from([429, 503]), share=st.floats(0.05, 0.95))
def test_every_caller_of_the_service(route: str, seconds: int, status: int, share: float) -> None:
    """One request until the time is over, though more is asked for meanwhile; then it goes on."""

    async def test(world: World) -> None:
        trigger = CALLERS[route]
        later = trigger is not at_once
        async with running(world.service(KEY, targets=30.0).run()):
            if later:
                await world.clock.advance(2)
            world.saas.always[route] = asks_to_wait(seconds, status)
            trigger(world)
            await world.clock.advance(1.5)  # everything has begun by then
            asked = world.saas.count(route)
            assert asked
            await world.clock.advance((seconds - 3) * share)
            trigger(world)
            await world.clock.advance((seconds - 3) * (1 - share))
            assert world.saas.count(route) == asked
            del world.saas.always[route]
            await world.clock.advance(LONGEST_SECONDS)
            assert world.saas.count(route) > asked

    play(test)


@settings(max_examples=examples(0.2))
@given(seconds=st.integers(10, 300), status=st.sampled_from([429, 503]))
def test_probes(seconds: int, status: int) -> None:
    """A member of a fleet asks often whether Harness is there, but not while Harness asks to wait."""
    route = f"{LISTS[0]}/{{id}}"

    async def test(world: World) -> None:
        async with running(world.service(KEY, leadership=Fleet()).run()):
            await world.clock.advance(2)
            world.saas.always[route] = asks_to_wait(seconds, status)
            await world.clock.advance(5)
            asked = world.saas.count(route)
            assert asked == 1
            await world.clock.advance(seconds - 6)
            assert world.saas.count(route) == asked
            del world.saas.always[route]
            await world.clock.advance(8)
            assert world.saas.count(route) > asked

    play(test)


@settings(max_examples=examples(0.4))
@given(
    waits=st.lists(st.tuples(st.integers(1, 300), st.sampled_from([429, 503])), min_size=1, max_size=4),
    share=st.floats(0.0, 0.9),
)
def test_key_checks(waits: list[tuple[int, int]], share: float) -> None:
    """Several keys at the same time: the longest time counts, for every key."""

    async def accept(environment: EnvironmentId, key: SdkKeyHash) -> KeyVerdict:
        del environment, key
        return KeyVerdict.ACCEPTED

    async def test(world: World) -> None:
        checker = KeyChecker(world.api, accept, clock=world.clock, telemetry=world.telemetry)
        world.saas.next[AUTH] = [asks_to_wait(*one) for one in waits]
        gate = world.saas.gates[AUTH] = asyncio.Event()
        keys = [SdkKey(f"key-{number}") for number in range(len(waits))]
        checks = [asyncio.create_task(checker.check(key)) for key in keys]
        await world.clock.settle()
        gate.set()
        assert set(await asyncio.gather(*checks)) == {KeyVerdict.UNAVAILABLE}
        longest = max(seconds for seconds, _ in waits)
        await world.clock.advance(longest * share)
        assert await checker.check(KEY) is KeyVerdict.UNAVAILABLE
        assert world.saas.count(AUTH) == len(waits)
        await world.clock.advance(longest * (1 - share) + 1)
        assert await checker.check(KEY) is KeyVerdict.ACCEPTED

    play(test)
