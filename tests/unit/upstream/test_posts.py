"""What goes up: with a working token, the right cluster, and honest errors."""

import json

import pytest

from ff_proxy.errors import UpstreamRefused, UpstreamUnavailable
from ff_proxy.model.target import Target
from ff_proxy.upstream.credentials import EnvironmentDirectory
from ff_proxy.upstream.posts import HarnessSink
from tests.support.saas import ENV, KEY, error
from tests.unit.upstream.world import ENVIRONMENT, World


@pytest.fixture
async def directory(world: World) -> EnvironmentDirectory:
    """The world's environment, let in."""
    made = EnvironmentDirectory()
    made.add_session(await world.session(), world.api.authenticate)
    return made


async def test_usage_arrives(world: World, directory: EnvironmentDirectory) -> None:
    """With the environment's own token and cluster."""
    await HarnessSink(world.api, directory).send(ENVIRONMENT, b"{}")
    assert world.saas.usage == [(ENV, b"{}")]
    assert world.saas.requests[-1].query == {"cluster": "2"}


async def test_usage_with_a_token_that_ended(world: World, directory: EnvironmentDirectory) -> None:
    """A new one is asked for, and the body sent again."""
    world.saas.expire_tokens()
    await HarnessSink(world.api, directory).send(ENVIRONMENT, b"{}")
    assert world.saas.usage == [(ENV, b"{}")]


async def test_usage_of_an_environment_not_let_in(world: World) -> None:
    """It may be later: the entries wait."""
    with pytest.raises(UpstreamUnavailable):
        await HarnessSink(world.api, EnvironmentDirectory()).send(ENVIRONMENT, b"{}")


@pytest.mark.parametrize("status", [400, 413])
async def test_usage_that_is_never_taken(world: World, directory: EnvironmentDirectory, status: int) -> None:
    """The caller splits it or gives it up; no token is renewed for it."""
    world.saas.always["/metrics/{env}"] = error(status)
    with pytest.raises(UpstreamRefused):
        await HarnessSink(world.api, directory).send(ENVIRONMENT, b"{}")
    assert world.saas.count("/client/auth") == 1


async def test_usage_while_saas_is_away(world: World, directory: EnvironmentDirectory) -> None:
    """Worth a retry."""
    world.saas.down = True
    with pytest.raises(UpstreamUnavailable):
        await HarnessSink(world.api, directory).send(ENVIRONMENT, b"{}")


async def test_registration(world: World, directory: EnvironmentDirectory) -> None:
    """By authenticating with the configured key."""
    await HarnessSink(world.api, directory).register(ENVIRONMENT, Target("anna", "Anna"))
    body = json.loads(world.saas.requests[-1].body or b"")
    assert body["apiKey"] == KEY.reveal()
    assert body["target"]["identifier"] == "anna"


async def test_registration_that_is_never_taken(world: World, directory: EnvironmentDirectory) -> None:
    """A 400 is about the target."""
    world.saas.always["/client/auth"] = error(400)
    with pytest.raises(UpstreamRefused):
        await HarnessSink(world.api, directory).register(ENVIRONMENT, Target("anna"))


async def test_registration_without_a_key(world: World) -> None:
    """It may be later."""
    with pytest.raises(UpstreamUnavailable):
        await HarnessSink(world.api, EnvironmentDirectory()).register(ENVIRONMENT, Target("anna"))
