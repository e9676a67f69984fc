"""Sessions: renewed once for all who need it, with the next key if the last is refused."""

import asyncio

import pytest

from ff_proxy.errors import UpstreamRefused, UpstreamUnavailable
from ff_proxy.model.keys import EnvironmentId, SdkKey
from ff_proxy.upstream.credentials import EnvironmentDirectory, Removal
from tests.support.saas import ENV, KEY
from tests.unit.upstream.world import World

SECOND = SdkKey("second-server-key")


async def test_a_working_token_is_used(world: World) -> None:
    """It is not renewed without need."""
    credentials = await world.credentials()
    assert await credentials.call(world.api.flags) == []
    assert world.saas.count("/client/auth") == 1


async def test_a_refused_token_is_renewed(world: World) -> None:
    """The call is made again with the new one."""
    credentials = await world.credentials()
    old = credentials.session
    world.saas.expire_tokens()
    assert await credentials.call(world.api.flags) == []
    assert credentials.session is not old
    assert world.saas.count("/client/auth") == 2


async def test_concurrent_calls_share_one_renewal(world: World) -> None:
    """A hundred calls do not request a hundred tokens."""
    credentials = await world.credentials()
    world.saas.expire_tokens()
    await asyncio.gather(*(credentials.call(world.api.flags) for _ in range(100)))
    assert world.saas.count("/client/auth") == 2


async def test_a_404_does_not_renew_the_token(world: World) -> None:
    """A deleted item is not a credential problem."""
    credentials = await world.credentials()
    with pytest.raises(UpstreamRefused):
        await credentials.call(lambda session: world.api.flag(session, "gone"))
    assert world.saas.count("/client/auth") == 1


async def test_keys_are_tried_in_turn(world: World) -> None:
    """The last accepted one first, then the next if Harness refuses it."""
    world.saas.environment(ENV, SECOND)
    credentials = await world.credentials()
    credentials.add(await world.api.authenticate(SECOND))
    del world.saas.keys[KEY.reveal()]
    world.saas.expire_tokens()
    await credentials.call(world.api.flags)
    assert credentials.session.key == SECOND
    assert credentials.accepted == {SECOND}
    world.saas.expire_tokens()
    await credentials.call(world.api.flags)
    assert credentials.session.key == SECOND


async def test_all_keys_refused(world: World) -> None:
    """That is a definite refusal."""
    credentials = await world.credentials()
    world.saas.keys.clear()
    with pytest.raises(UpstreamRefused):
        await credentials.renew(credentials.session)
    assert credentials.accepted == frozenset()


async def test_a_key_that_is_accepted_again(world: World) -> None:
    """It counts again."""
    credentials = await world.credentials()
    world.saas.keys.clear()
    assert not await credentials.verify(KEY)
    world.saas.environment()
    assert await credentials.verify(KEY)
    assert credentials.accepted == {KEY}


async def test_no_verdict_while_harness_is_down(world: World) -> None:
    """Neither accepted nor refused."""
    credentials = await world.credentials()
    world.saas.down = True
    with pytest.raises(UpstreamUnavailable):
        await credentials.verify(KEY)
    with pytest.raises(UpstreamUnavailable):
        await credentials.renew(credentials.session)
    assert credentials.accepted == {KEY}


async def test_a_key_that_moved_is_refused(world: World) -> None:
    """Its token must not be used for the environment it was configured for."""
    credentials = await world.credentials()
    world.saas.environment("another", KEY)
    with pytest.raises(UpstreamRefused, match="another environment"):
        await credentials.renew(credentials.session)


async def test_the_environment_is_from_the_newest_token(world: World) -> None:
    """It may be renamed, or move to another cluster."""
    credentials = await world.credentials()
    world.saas.claims = {"environmentIdentifier": "renamed"}
    await credentials.renew(credentials.session)
    assert credentials.environment.identifier == "renamed"


async def test_directory_joins_keys_of_one_environment(world: World) -> None:
    """The environment exists once."""
    directory = EnvironmentDirectory()
    world.saas.environment(ENV, SECOND)
    first, fresh = directory.add_session(await world.session(), world.api.authenticate)
    assert fresh
    second, fresh = directory.add_session(await world.api.authenticate(SECOND), world.api.authenticate)
    assert not fresh
    assert first is second
    assert first.accepted == {KEY, SECOND}
    assert directory.find(EnvironmentId(ENV)) is first
    assert directory.require(EnvironmentId(ENV)) is first


def test_directory_of_unknown_environments() -> None:
    """Their keys may be accepted later."""
    directory = EnvironmentDirectory()
    assert directory.find(EnvironmentId(ENV)) is None
    with pytest.raises(UpstreamUnavailable):
        directory.require(EnvironmentId(ENV))


async def test_a_key_that_is_taken_away_is_not_used_any_more(world: World) -> None:
    """The session of another one takes its place, one that Harness did not refuse last if there is one."""
    third = SdkKey("third-server-key")
    world.saas.environment(ENV, SECOND, third)
    credentials = await world.credentials()
    for key in (SECOND, third):
        credentials.add(await world.api.authenticate(key))
    del world.saas.keys[SECOND.reveal()]
    assert not await credentials.verify(SECOND)
    assert credentials.remove(KEY)
    assert KEY not in credentials
    assert credentials.session.key == third
    assert await credentials.call(world.api.flags) == []
    assert credentials.remove(third)
    assert credentials.session.key == SECOND
    assert not credentials.remove(SECOND)
    with pytest.raises(UpstreamUnavailable):
        await credentials.renew(credentials.session)


async def test_a_key_that_is_taken_away_while_it_is_tried_stays_away(world: World) -> None:
    """Its new session is not used."""
    world.saas.environment(ENV, SECOND)
    credentials = await world.credentials()
    credentials.add(await world.api.authenticate(SECOND))
    stale = credentials.session
    gate = world.saas.gates["/client/auth"] = asyncio.Event()
    renewing = asyncio.create_task(credentials.renew(stale))
    await world.clock.settle()
    assert credentials.remove(KEY)
    gate.set()
    assert (await renewing).key == SECOND
    assert credentials.accepted == {SECOND}


async def test_the_directory_forgets_an_environment_with_its_last_key(world: World) -> None:
    """And says which environment had the key, and whether it was in use there."""
    world.saas.environment(ENV, SECOND)
    directory = EnvironmentDirectory()
    for key in (KEY, SECOND):
        directory.add_session(await world.api.authenticate(key), world.api.authenticate)
    assert directory.remove(SdkKey("another")) == []
    assert directory.remove(KEY) == [Removal(EnvironmentId(ENV), last=False, switched=True)]
    assert directory.remove(SECOND) == [Removal(EnvironmentId(ENV), last=True, switched=False)]
    assert directory.names == set()
