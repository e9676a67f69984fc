"""A key of another kind, or with other content: it concerns its environment, and no other."""

import pytest

from ff_proxy.model.environment import StreamState, UpstreamStatus
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.store.protocol import PutItem
from tests.support.configs import ENVIRONMENT, config, flag
from tests.support.redis_member import counted, member, part
from tests.support.redis_server import RedisServer, redis_command

OTHER = EnvironmentId("b1dc1c9f-5a3f-41d7-8a4e-0c8e2f9e3b22")
KINDS = ["config", "items", "moved", "recent", "lease", "usage:counts", "usage:targets", "usage:leases"]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_key_of_another_kind_concerns_its_environment_alone(
    server: RedisServer, prefix: str, kind: str
) -> None:
    """Members that hold the others go on with them, and so does one that starts meanwhile."""
    async with member(server, prefix) as store, member(server, prefix) as late:
        for environment in (ENVIRONMENT, OTHER):
            await store.configs.replace(config(flag("a"), environment=environment))
            await store.configs.set_status(environment, UpstreamStatus(StreamState.CONNECTED, 1))
            await store.usage.merge([counted(1, environment)], [])
        key = part(prefix, kind)
        redis_command(server.port, "DEL", key)
        redis_command(server.port, "XADD", key, "*", "of another", "program")
        for one in (store, late):
            assert OTHER in await one.configs.environments()
            assert (await one.configs.statuses())[OTHER].state is StreamState.CONNECTED
            assert (await one.usage.pending())[OTHER] == 1
        await store.configs.apply(OTHER, PutItem(flag("b")))
        for one in (store, late):
            current = await one.configs.environment(OTHER)
            assert current is not None
            assert sorted(current.flags) == ["a", "b"]
        redis_command(server.port, "DEL", key)
        await store.configs.apply(ENVIRONMENT, PutItem(flag("c")))
        current = await late.configs.environment(ENVIRONMENT)
        assert current is not None
        assert sorted(current.flags) == ["a", "c"]


@pytest.mark.parametrize("field", ["epoch", "counter", "status", "reporter", "fence", "life", "rows"])
@pytest.mark.parametrize("text", ["", "nonsense", "1e400", "1.5", "-1", "{"])
async def test_a_field_with_other_content_concerns_its_environment_alone(
    server: RedisServer, prefix: str, field: str, text: str
) -> None:
    """As above."""
    async with member(server, prefix) as store, member(server, prefix) as late:
        for environment in (ENVIRONMENT, OTHER):
            await store.configs.replace(config(flag("a"), environment=environment))
            await store.configs.set_status(environment, UpstreamStatus(StreamState.CONNECTED, 1))
        redis_command(server.port, "HSET", part(prefix, "config"), field, text)
        for one in (store, late):
            assert OTHER in await one.configs.environments()
            assert (await one.configs.statuses())[OTHER].state is StreamState.CONNECTED
        await store.configs.apply(OTHER, PutItem(flag("b")))
        current = await late.configs.environment(OTHER)
        assert current is not None
        assert sorted(current.flags) == ["a", "b"]


async def test_names_that_are_no_text_are_passed_over(server: RedisServer, prefix: str) -> None:
    """In every set of names that members share."""
    async with member(server, prefix) as store:
        await store.configs.replace(config(flag("a")))
        await store.usage.merge([counted(1)], [])
        for name in ("environments", "queues", "registering", "secrets", "secrets:bound", "born"):
            script = f"return redis.call('SADD', '{prefix}:{name}', '\\255\\254')"
            if name != "born":
                redis_command(server.port, "EVAL", script, "0")
        assert list(await store.configs.environments()) == [ENVIRONMENT]
        assert await store.usage.pending() == {ENVIRONMENT: 1}
        await store.configs.statuses()
        await store.recovery.poll()
        assert not store.secrets.others()
