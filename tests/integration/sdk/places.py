"""Where SDKs are pointed at: SaaS itself, a proxy in front of it, a proxy with a directory."""

import asyncio
import contextlib
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final

from ff_proxy.model.environment import Domain, EnvironmentInfo
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.sandbox.environment import Environment
from ff_proxy.sandbox.keys import known_key
from ff_proxy.sandbox.running import RunningSandbox
from ff_proxy.sandbox.state import DEFAULT_ACCOUNT
from tests.integration.harness import Proxy, offline_options, online_options
from tests.integration.sdk.shop import ORGANISATION, PROJECT, Document, Shop

CONTROL: Final = "control"
ONLINE: Final = "online"
OFFLINE: Final = "offline"
PLACES: Final[Sequence[str]] = (CONTROL, ONLINE, OFFLINE)

RECONNECTED_WITHIN: Final = 60.0
USAGE_INTERVAL: Final = 2


def control_shop() -> Shop:
    """The environment of SDKs that talk to SaaS without a proxy."""
    return Shop("5b0b4a5e-6f7d-4f0f-9a53-2f6f0c6f7a01", "control-server-key")


def online_shop() -> Shop:
    """The environment of the online proxy."""
    return Shop("5b0b4a5e-6f7d-4f0f-9a53-2f6f0c6f7a02", "online-server-key")


def offline_shop() -> Shop:
    """The environment of the offline proxy."""
    return Shop("5b0b4a5e-6f7d-4f0f-9a53-2f6f0c6f7a03", "offline-server-key")


def saas_environment(name: str, shop: Shop) -> Environment:
    """The shop as the sandbox serves it; `name` is the environment's identifier."""
    info = EnvironmentInfo(
        EnvironmentId(shop.environment_id),
        identifier=name,
        project=PROJECT,
        project_identifier=PROJECT,
        organization=ORGANISATION,
        organization_identifier=ORGANISATION,
        account=DEFAULT_ACCOUNT,
    )
    return Environment(
        info,
        flags=shop.flags.values(),
        segments=shop.segments.values(),
        keys=[known_key("server", "Server", shop.key)],
    )


class Place(ABC):
    """What SDKs are pointed at, and what a test can do to what is behind it."""

    def __init__(self, name: str, shop: Shop, url: str, proxy: Proxy | None = None) -> None:
        self.name = name
        self.shop = shop
        self.url = url
        self._proxy = proxy

    @abstractmethod
    async def turn_on(self, flag: str) -> None:
        """Turn a flag on."""

    @abstractmethod
    async def put_flag(self, document: Document) -> None:
        """Create a flag."""

    @abstractmethod
    async def drop_flag(self, flag: str) -> None:
        """Delete a flag."""

    @abstractmethod
    async def put_group(self, document: Document) -> None:
        """Change a target group."""

    @abstractmethod
    async def cut(self) -> None:
        """Cut what can be cut without a restart, and come back when a later change can be heard."""

    async def restart_around(self, flag: str) -> None:
        """Restart the proxy, and turn a flag on while it is away; without a proxy, just turn it on."""
        if self._proxy is not None:
            await self._proxy.stop()
        await self.turn_on(flag)
        if self._proxy is not None:
            await self._proxy.start()


class SaasPlace(Place):
    """The sandbox itself: the control, without a proxy in between."""

    def __init__(
        self, name: str, shop: Shop, url: str, saas: RunningSandbox, proxy: Proxy | None = None
    ) -> None:
        super().__init__(name, shop, url, proxy)
        self._saas = saas

    async def turn_on(self, flag: str) -> None:
        """Turn a flag on."""
        self._saas.state.flip(self.shop.environment_id, flag, state="on")

    async def put_flag(self, document: Document) -> None:
        """Create a flag."""
        self._saas.state.put(self.shop.environment_id, Domain.FLAG, document)

    async def drop_flag(self, flag: str) -> None:
        """Delete a flag."""
        self._saas.state.drop(self.shop.environment_id, Domain.FLAG, flag)

    async def put_group(self, document: Document) -> None:
        """Change a target group."""
        self._saas.state.put(self.shop.environment_id, Domain.SEGMENT, document)

    async def cut(self) -> None:
        """Cut the streams of this environment, and wait until as many are open again."""
        environment = EnvironmentId(self.shop.environment_id)
        cut = self._saas.streams.cut(environment)
        await asyncio.sleep(1)  # those that were cut have to be gone before new ones are counted
        end = time.monotonic() + RECONNECTED_WITHIN
        while self._saas.streams.count(environment) < cut and time.monotonic() < end:  # noqa: ASYNC110  # not told
            await asyncio.sleep(0.2)


class OnlinePlace(SaasPlace):
    """A proxy in front of the sandbox. Its own stream is what can be cut: SDKs are not to notice."""

    def __init__(self, shop: Shop, proxy: Proxy, saas: RunningSandbox) -> None:
        super().__init__(ONLINE, shop, proxy.url, saas, proxy)

    async def cut(self) -> None:
        """Cut the proxy's stream; what follows is for the proxy to notice by itself."""
        self._saas.streams.cut(EnvironmentId(self.shop.environment_id))


class OfflinePlace(Place):
    """A proxy that serves from a directory: changing a flag is editing a file."""

    def __init__(self, shop: Shop, proxy: Proxy, directory: Path) -> None:
        super().__init__(OFFLINE, shop, proxy.url, proxy)
        self._directory = directory

    async def turn_on(self, flag: str) -> None:
        """Turn a flag on."""
        self.shop.turn_on(flag)
        await self._write()

    async def put_flag(self, document: Document) -> None:
        """Create a flag."""
        self.shop.flags[document["feature"]] = document
        await self._write()

    async def drop_flag(self, flag: str) -> None:
        """Delete a flag."""
        del self.shop.flags[flag]
        await self._write()

    async def put_group(self, document: Document) -> None:
        """Change a target group."""
        self.shop.segments[document["identifier"]] = document
        await self._write()

    async def cut(self) -> None:
        """There is nothing between the proxy and its directory."""

    async def _write(self) -> None:
        await asyncio.to_thread(self.shop.write, self._directory)


@contextlib.asynccontextmanager
async def open_place(name: str, saas: RunningSandbox, scratch: Path) -> AsyncIterator[Place]:
    """Start what the place needs; a proxy must start and end well."""
    log = scratch / f"proxy-{name}.log"
    if name == CONTROL:
        yield SaasPlace(CONTROL, control_shop(), saas.client_url, saas)
    elif name == ONLINE:
        shop = online_shop()
        options = {**online_options(saas, [shop.key]), "metric-post-duration": str(USAGE_INTERVAL)}
        async with Proxy.running(options, log, fresh=True) as proxy:
            yield OnlinePlace(shop, proxy, saas)
    else:
        shop = offline_shop()
        directory = scratch / "config"
        await asyncio.to_thread(shop.write, directory)
        # Without a secret of its own a restarted offline proxy knows no token that it gave.
        options = {**offline_options(directory), "auth-secret": "a-secret-that-outlives-the-process"}
        async with Proxy.running(options, log, fresh=True) as proxy:
            yield OfflinePlace(shop, proxy, directory)
