"""Environments of a process that serves without Redis."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import cast

import pytest

from ff_proxy.errors import StoreUnavailable
from ff_proxy.model.environment import EnvironmentConfig, Revision
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.store.protocol import Notice
from ff_proxy.store.redis import standalone
from ff_proxy.store.redis.configs import RedisConfigs
from ff_proxy.store.redis.standalone import StandaloneConfigs
from tests.support.clock import FakeClock
from tests.support.configs import ENVIRONMENT, config, flag

OTHER = EnvironmentId("other")


async def _nothing() -> AsyncIterator[Notice]:
    return
    yield


class Silent:
    """A Redis that accepts connections and does not answer; ``OTHER`` was read before."""

    async def environments(self) -> Mapping[EnvironmentId, Revision]:
        await asyncio.Event().wait()
        return {}

    @asynccontextmanager
    async def watch(self) -> AsyncIterator[AsyncIterator[Notice]]:
        await asyncio.Event().wait()
        yield _nothing()

    def held(self) -> Mapping[EnvironmentId, Revision]:
        return {OTHER: Revision("before", 1)}

    def held_config(self, _: EnvironmentId) -> EnvironmentConfig | None:
        return None


async def test_a_silent_redis_is_unavailable_until_there_is_something_to_serve(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Readers know ``StoreUnavailable``; a ``TimeoutError`` would end the service that loads snapshots."""
    monkeypatch.setattr(standalone, "_ANSWER_SECONDS", 0.01)
    configs = StandaloneConfigs(cast("RedisConfigs", Silent()), "epoch", FakeClock())
    configs.stand_alone(ENVIRONMENT)
    with pytest.raises(StoreUnavailable, match="no answer in time"):
        await configs.environments()
    await configs.replace(config(flag()))
    assert set(await configs.environments()) == {ENVIRONMENT, OTHER}


async def test_a_subscription_that_hangs_until_redis_leads_again_is_unavailable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The environment joined Redis while the timeout for processes without it was running."""
    monkeypatch.setattr(standalone, "_ANSWER_SECONDS", 0.01)
    configs = StandaloneConfigs(cast("RedisConfigs", Silent()), "epoch", FakeClock())
    configs.stand_alone(ENVIRONMENT)
    await configs.replace(config(flag()))
    asyncio.get_running_loop().call_soon(configs.leave, ENVIRONMENT)
    with pytest.raises(StoreUnavailable, match="no answer in time"):
        async with configs.watch():
            pass
