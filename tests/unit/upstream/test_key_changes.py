"""Keys that come and go while the service runs: an environment is followed while one of its keys is there."""

import asyncio
from collections.abc import Mapping

import pytest

from ff_proxy.errors import StoreUnavailable
from ff_proxy.model.environment import EnvironmentConfig, EnvironmentInfo, Revision
from ff_proxy.model.keys import EnvironmentId, KeyVerdict, SdkKey, hash_key
from ff_proxy.model.readiness import Readiness
from ff_proxy.upstream.transport import Reply, Request
from tests.support.saas import ENV, KEY, error
from tests.unit.upstream.world import ENVIRONMENT, Fleet, World, running

OTHER = EnvironmentId("9c1f0f6e-0000-4000-8000-000000000002")
OTHER_KEY = SdkKey("other-server-key")
SECOND_KEY = SdkKey("second-server-key")
BAD_KEY = SdkKey("badkey-that-is-long")
AUTH = "/client/auth"


@pytest.fixture(autouse=True)
def _other(world: World) -> None:
    """A second environment, and a second key of the first."""
    world.saas.environment(OTHER, OTHER_KEY)
    world.saas.environment(ENV, SECOND_KEY)


async def loaded(world: World) -> set[str]:
    """The environments that the store holds."""
    return set(await world.configs.environments())


def open_streams(world: World) -> list[str]:
    """The keys that streams of Harness are open with."""
    return [one.request.headers["API-Key"] for one in world.saas.streams if not one.closed]


async def test_the_environment_of_a_key_that_is_gone_goes(world: World) -> None:
    """And nothing of another one is touched: neither its stream nor what is stored."""
    service = world.service(KEY, OTHER_KEY)
    async with running(service.run()):
        await world.clock.advance(5)
        assert await loaded(world) == {ENV, OTHER}
        (stream,) = [one for one in world.saas.streams if one.request.headers["API-Key"] == KEY.reveal()]
        revision = (await world.configs.environments())[OTHER]
        service.configure([OTHER_KEY])
        assert service.given_up(ENVIRONMENT)
        await world.clock.advance(0)
        assert stream.closed
        assert open_streams(world) == [OTHER_KEY.reveal()]
        assert await world.configs.environments() == {OTHER: revision}
        assert service.environments() == {OTHER}
        assert service.readiness() == Readiness(loaded=1)
        assert service.settled()
        figures = world.telemetry.exposition().decode()
        for name in ("ff_proxy_leading", "ff_proxy_stream_health"):
            assert f'{name}{{envID="{OTHER}"}} 1.0' in figures
            assert f'{name}{{envID="{ENV}"}}' not in figures
        assert await service.accept(ENVIRONMENT, KEY.hash) is KeyVerdict.REFUSED
        asked = len(world.saas.requests)
        await world.clock.advance(1)
        assert len(world.saas.requests) == asked


async def test_another_key_of_the_environment_takes_over(world: World) -> None:
    """With what it opens, in the stream and in every request, and what is served stays."""
    service = world.service(KEY, SECOND_KEY, OTHER_KEY)
    async with running(service.run()):
        await world.clock.advance(5)
        (others,) = [
            one for one in world.saas.streams if one.request.headers["API-Key"] == OTHER_KEY.reveal()
        ]
        revision = (await world.configs.environments())[ENVIRONMENT]
        assert len(open_streams(world)) == 2
        (used,) = [key for key in (KEY, SECOND_KEY) if key.reveal() in open_streams(world)]
        (left,) = {KEY, SECOND_KEY} - {used}
        asked = len(world.saas.requests)
        service.configure([left, OTHER_KEY])
        assert service.readiness().loaded == 2
        await world.clock.advance(5)
        assert sorted(open_streams(world)) == sorted([left.reveal(), OTHER_KEY.reveal()])
        assert not others.closed
        assert (await world.configs.environments())[ENVIRONMENT] == revision
        assert world.configs.removed == []
        assert service.readiness() == Readiness(loaded=2)
        later = world.saas.requests[asked:]
        assert used.reveal() not in {one.headers.get("API-Key") for one in later}
        # Keys that Harness lists are good whether they are configured or not.
        assert used.hash in (await world.config()).keys


async def test_a_key_that_waits_goes_without_a_trace(world: World) -> None:
    """The one that leads goes on."""
    service = world.service(KEY, SECOND_KEY)
    async with running(service.run()):
        await world.clock.advance(5)
        (leader,) = open_streams(world)
        service.configure([key for key in (KEY, SECOND_KEY) if key.reveal() == leader])
        await world.clock.advance(60)
        assert len(world.saas.streams) == 1
        assert open_streams(world) == [leader]


async def test_the_key_in_use_goes_although_another_one_leads(world: World) -> None:
    """Harness refused the first one for a while, and the second was taken instead."""
    service = world.service(KEY, SECOND_KEY)
    async with running(service.run()):
        await world.clock.advance(20)
        (first,) = open_streams(world)
        environment = world.saas.keys.pop(first)
        world.saas.expire_tokens()
        world.saas.streams[-1].end()
        await world.clock.advance(5)
        (second,) = open_streams(world)
        assert second != first
        world.saas.keys[first] = environment
        service.configure([key for key in (KEY, SECOND_KEY) if key.reveal() == first])
        await world.clock.advance(5)
        assert open_streams(world) == [first]
        assert service.environments() == {ENV}


async def test_keys_are_exchanged(world: World) -> None:
    """The old one goes in the reload in which the new one comes: SDKs notice nothing meanwhile."""
    service = world.service(KEY)
    new = SdkKey("made-a-moment-ago")
    async with running(service.run()):
        await world.clock.advance(5)
        world.saas.environment(ENV, new)
        gate = world.saas.gates[AUTH] = asyncio.Event()
        service.configure([new])
        await world.clock.advance(10)
        between = service.readiness()
        assert between.ready
        assert service.environments() == {ENV}
        assert any("its keys are gone" in reason for reason in between.degraded)
        gate.set()
        await world.clock.advance(5)
        assert open_streams(world) == [new.reveal()]
        assert world.configs.removed == []
        assert service.readiness() == Readiness(loaded=1)


async def test_nothing_is_given_up_while_a_key_may_still_be_of_it(world: World) -> None:
    """Harness is away when the key is exchanged: it goes once Harness has said what the new one is of."""
    service = world.service(KEY)
    async with running(service.run()):
        await world.clock.advance(5)
        world.saas.down = True
        service.configure([OTHER_KEY])
        await world.clock.advance(60)
        assert await loaded(world) == {ENV}
        assert service.readiness().ready
        assert not service.settled()
        world.saas.down = False
        await world.clock.advance(40)
        assert await loaded(world) == {OTHER}
        assert service.readiness() == Readiness(loaded=1)


async def test_a_key_that_is_put_back_at_once(world: World) -> None:
    """Whether its task has ended meanwhile or not: one task again, and no gap."""
    service = world.service(KEY)
    async with running(service.run()):
        await world.clock.advance(5)
        for turns in range(12):
            service.configure([OTHER_KEY])
            await world.clock.settle(turns)
            service.configure([KEY])
            await world.clock.advance(5)
            assert open_streams(world) == [KEY.reveal()]
            assert await loaded(world) == {ENV}
            assert service.readiness() == Readiness(loaded=1)
        assert ENVIRONMENT not in world.configs.removed


async def test_a_key_that_is_put_back_later(world: World) -> None:
    """Its environment comes up again."""
    service = world.service(KEY, OTHER_KEY)
    async with running(service.run()):
        await world.clock.advance(5)
        service.configure([OTHER_KEY])
        await world.clock.advance(100)
        service.configure([OTHER_KEY, KEY])
        await world.clock.advance(5)
        assert await loaded(world) == {ENV, OTHER}
        assert service.readiness() == Readiness(loaded=2)
        assert f'ff_proxy_leading{{envID="{ENV}"}} 1.0' in world.telemetry.exposition().decode()


@pytest.mark.parametrize("gated", [AUTH, "/client/env/{env}/feature-configs"])
async def test_a_key_goes_before_it_has_come_far(world: World, gated: str) -> None:
    """While Harness is asked for its session, or for its flags."""
    service = world.service(OTHER_KEY)
    async with running(service.run()):
        await world.clock.advance(5)
        gate = world.saas.gates[gated] = asyncio.Event()
        service.configure([OTHER_KEY, KEY])
        await world.clock.advance(3)
        service.configure([OTHER_KEY])
        await world.clock.advance(3)
        gate.set()
        await world.clock.advance(30)
        assert service.readiness() == Readiness(loaded=1)
        assert await loaded(world) == {OTHER}
        assert open_streams(world) == [OTHER_KEY.reveal()]


async def test_a_refused_key_goes(world: World) -> None:
    """It is not tried again, and nobody speaks of it."""
    service = world.service(BAD_KEY, KEY)
    async with running(service.run()):
        await world.clock.advance(5)
        assert service.readiness().refused
        asked = world.saas.count(AUTH)
        service.configure([KEY])
        await world.clock.advance(200)
        assert service.readiness() == Readiness(loaded=1)
        assert world.saas.count(AUTH) == asked
        world.saas.environment(OTHER, BAD_KEY)
        await world.clock.advance(200)
        assert await loaded(world) == {ENV}


async def test_the_store_is_away_when_a_key_goes(world: World) -> None:
    """Its environment goes when the store is back."""
    service = world.service(KEY, OTHER_KEY)
    async with running(service.run()):
        await world.clock.advance(5)
        world.configs.away = True
        service.configure([OTHER_KEY])
        await world.clock.advance(20)
        assert service.environments() == {ENV, OTHER}
        world.configs.away = False
        await world.clock.advance(5)
        assert service.environments() == {OTHER}
        assert await loaded(world) == {OTHER}


async def test_a_former_process_had_more_keys(world: World) -> None:
    """A restart with fewer keys comes to the same as a reload: not before Harness has accepted every key."""
    await world.configs.replace(
        EnvironmentConfig(EnvironmentInfo(OTHER), {}, {}, frozenset({OTHER_KEY.hash}))
    )
    await world.configs.replace(
        EnvironmentConfig(EnvironmentInfo(ENVIRONMENT), {}, {}, frozenset({KEY.hash}))
    )
    world.saas.always[AUTH] = error(403)
    service = world.service(KEY)
    async with running(service.run()):
        await world.clock.advance(10)
        assert await loaded(world) == {ENV, OTHER}
        world.saas.always.clear()
        await world.clock.advance(100)
        assert await loaded(world) == {ENV}


async def test_a_member_of_a_fleet_leaves_the_environment_to_others(world: World) -> None:
    """It gives back the lease and removes nothing: others may be configured with the key."""
    fleet = Fleet()
    service = world.service(KEY, OTHER_KEY, leadership=fleet)
    async with running(service.run()):
        await world.clock.advance(5)
        assert sorted(fleet.led) == sorted([ENV, OTHER])
        service.configure([OTHER_KEY])
        await world.clock.advance(1)
        assert (fleet.led, fleet.left) == ([OTHER], [ENV])
        assert await loaded(world) == {ENV, OTHER}
        assert service.environments() == {OTHER}
        assert service.readiness() == Readiness(loaded=1)
        assert not service.settled()
        assert not service.given_up(ENVIRONMENT)
        await world.clock.advance(3)
        assert "not configured here any more" in world.log


async def test_fifty_keys_do_not_have_the_store_read_fifty_times(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However soon Harness answers for each: the store is looked at now and then, and when all are known."""
    keys = [SdkKey(f"server-key-{number}") for number in range(50)]
    for number, key in enumerate(keys):
        world.saas.environment(f"env-{number}", key)
    looks = 0
    environments = world.configs.environments

    async def counted() -> object:
        nonlocal looks
        looks += 1
        return await environments()

    answer = world.saas.send

    async def one_by_one(request: Request) -> Reply:
        if request.route == AUTH:
            await world.clock.sleep(world.saas.count(AUTH) / 100)
        return await answer(request)

    monkeypatch.setattr(world.configs, "environments", counted)
    monkeypatch.setattr(world.saas, "send", one_by_one)
    service = world.service(KEY, *keys)
    async with running(service.run()):
        await world.clock.advance(20)
        assert service.settled()
        assert looks < 15


async def test_a_store_that_fails_while_strangers_are_looked_for_recovers(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is said to fail is said to work again, although no key waits for the store."""
    stranger = EnvironmentConfig(EnvironmentInfo(OTHER), {}, {}, frozenset({hash_key("stranger")}))
    await world.configs.replace(stranger)
    service = world.service(KEY)
    listing = world.configs.environments

    async def away() -> Mapping[EnvironmentId, Revision]:
        raise StoreUnavailable("the store is away")

    world.saas.down = True
    async with running(service.run()):
        await world.clock.settle()
        monkeypatch.setattr(world.configs, "environments", away)
        world.saas.down = False
        await world.clock.advance(60)
        assert "stored environments" in str(world.said("the store cannot be used"))
        assert world.said("the store can be used again") == []
        monkeypatch.setattr(world.configs, "environments", listing)
        await world.clock.advance(60)
        assert await loaded(world) == {ENV}
        assert len(world.said("the store can be used again")) == 1
