"""Refreshing keys: every line of spec/behaviour#key-checks that is about listings."""

import pytest

from ff_proxy.errors import UpstreamUnavailable
from ff_proxy.model.environment import Domain, EnvironmentInfo
from ff_proxy.model.keys import hash_key
from ff_proxy.upstream.credentials import Credentials
from ff_proxy.upstream.listings import KeyRefresh
from ff_proxy.upstream.transport import Reply
from ff_proxy.upstream.writer import EnvironmentWriter, KeyRing
from tests.support.saas import ENV, HTML, KEY, error, reply
from tests.unit.upstream.world import AWAY, BACK, ENVIRONMENT, STORE_BACK, World, running

LISTED = hash_key("client-key")


class Keys:
    """A refresh over the world, its environment held and holding the configured key."""

    def __init__(self, world: World, credentials: Credentials) -> None:
        self.world = world
        self.lost = 0
        self.credentials = credentials
        self.writer = EnvironmentWriter(
            world.configs, ENVIRONMENT, KeyRing([KEY.hash]), world.clock, loaded=False
        )
        self.refresh = KeyRefresh(world.context(), credentials, self.writer, self._lose)

    async def held(self) -> set[str]:
        """The keys in the store after one more refresh."""
        await self.refresh.refresh()
        return set((await self.world.config()).keys)

    def _lose(self) -> None:
        self.lost += 1


@pytest.fixture
async def keys(world: World) -> Keys:
    """SaaS lists the configured key and one more."""
    world.saas.environments[ENV].hashes.append(LISTED)
    made = Keys(world, await world.credentials())
    for domain in Domain:
        await made.writer.put_list(EnvironmentInfo(ENVIRONMENT), domain, {}, made.writer.ticket())
    return made


async def test_listed_keys_are_stored(keys: Keys) -> None:
    """With the configured one."""
    assert await keys.held() == {KEY.hash, LISTED}
    assert keys.refresh.problem == ""


async def test_revoked_after_two_complete_listings(keys: Keys) -> None:
    """Not after one."""
    await keys.held()
    keys.world.saas.environments[ENV].hashes.remove(LISTED)
    assert await keys.held() == {KEY.hash, LISTED}
    assert await keys.held() == {KEY.hash}


@pytest.mark.parametrize(
    "answer",
    [
        UpstreamUnavailable("down"),
        error(500),
        error(401),
        HTML,
        reply({"apiKeys": [], "itemCount": 0}),
        reply({"apiKeys": [{"identifier": "x", "key": hash_key("x")}], "itemCount": 2, "pageCount": 1}),
    ],
)
async def test_an_unusable_listing_changes_nothing(keys: Keys, answer: Reply | UpstreamUnavailable) -> None:
    """Failed, refused, foreign, empty or partial; and it does not count as one of two."""
    await keys.held()
    keys.world.saas.environments[ENV].hashes.remove(LISTED)
    await keys.held()
    keys.world.saas.always["/admin/apikey"] = answer
    for _ in range(3):
        assert await keys.held() == {KEY.hash, LISTED}
    assert keys.refresh.problem
    assert len(keys.world.said(AWAY)) == 1
    del keys.world.saas.always["/admin/apikey"]
    assert await keys.held() == {KEY.hash}
    assert keys.refresh.problem == ""
    assert len(keys.world.said(BACK)) == 1


async def test_wrong_admin_token_says_so(keys: Keys) -> None:
    """The operator has to look at one option."""
    keys.world.saas.always["/admin/apikey"] = error(401)
    await keys.refresh.refresh()
    assert "admin-service-token" in keys.refresh.problem
    assert "401" in keys.refresh.problem


async def test_configured_keys_that_saas_accepts_stay(keys: Keys) -> None:
    """Whatever the listing says."""
    keys.world.saas.environments[ENV].hashes[:] = [LISTED]
    for _ in range(4):
        assert await keys.held() == {KEY.hash, LISTED}


async def test_configured_keys_stay_while_saas_cannot_be_asked(keys: Keys) -> None:
    """No answer is no revocation."""
    keys.world.saas.environments[ENV].hashes[:] = [LISTED]
    keys.world.saas.always["/client/auth"] = UpstreamUnavailable("down")
    for _ in range(4):
        assert await keys.held() == {KEY.hash, LISTED}


async def test_configured_keys_that_saas_refuses_go(keys: Keys) -> None:
    """Revoked in Harness is revoked here."""
    keys.world.saas.environments[ENV].hashes[:] = [LISTED]
    keys.world.saas.keys.clear()
    assert await keys.held() == {KEY.hash, LISTED}
    assert await keys.held() == {LISTED}


async def test_listed_keys_are_not_checked(keys: Keys) -> None:
    """Harness gets no request per key every minute."""
    for _ in range(5):
        await keys.held()
    assert keys.world.saas.count("/client/auth") == 1


async def test_an_emptied_store_is_noticed(keys: Keys) -> None:
    """Everything is to be written again."""
    await keys.refresh.refresh()
    assert keys.lost == 0
    await keys.world.configs.remove(ENVIRONMENT)
    await keys.refresh.refresh()
    assert keys.lost == 1


async def test_a_store_that_is_away_is_survived(keys: Keys) -> None:
    """The keys are stored when it is back."""
    keys.world.configs.away = True
    await keys.refresh.refresh()
    (line,) = keys.world.said("the store cannot be used")
    assert line["subject"] == "keys"
    await keys.refresh.refresh()
    assert not keys.world.said(STORE_BACK), "the listing worked, the store did not"
    keys.world.configs.away = False
    assert await keys.held() == {KEY.hash, LISTED}
    assert len(keys.world.said("the store cannot be used")) == len(keys.world.said(STORE_BACK)) == 1


async def test_nothing_is_stored_before_the_environment_is(world: World) -> None:
    """The first load brings the keys along."""
    keys = Keys(world, await world.credentials())
    await keys.refresh.refresh()
    assert keys.lost == 0
    assert keys.writer.ring.keys == {KEY.hash}
    assert await world.configs.environments() == {}


async def test_runs_at_its_interval(keys: Keys) -> None:
    """At once, then about every minute."""
    async with running(keys.refresh.run()):
        await keys.world.clock.advance(50)
        assert keys.world.saas.count("/admin/apikey") == 1
        await keys.world.clock.advance(20)
        assert keys.world.saas.count("/admin/apikey") == 2
