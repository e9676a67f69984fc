"""Run a sandbox: in a process of its own, or inside a test."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, final

from ff_proxy.sandbox.app import ADMIN_BASE, CLIENT_BASE, App
from ff_proxy.sandbox.listener import Listener
from ff_proxy.sandbox.site import Site
from ff_proxy.sandbox.state import SandboxState


@final
class RunningSandbox:
    """A sandbox that answers; its parts may be used directly, on the loop that runs it.

    ``state``, ``streams``, ``faults``, ``usage`` and ``journal`` are those of its ``site``.
    """

    def __init__(self, site: Site, listener: Listener) -> None:
        self.site: Final = site
        self.listener: Final = listener
        self.state: Final = site.state
        self.streams: Final = site.streams
        self.faults: Final = site.faults
        self.usage: Final = site.usage
        self.journal: Final = site.journal

    @property
    def url(self) -> str:
        """Its root, without a slash at the end."""
        return self.listener.url

    @property
    def client_url(self) -> str:
        """What stands for ``https://config.ff.harness.io/api/1.0``, and for the events service."""
        return self.url + CLIENT_BASE

    @property
    def admin_url(self) -> str:
        """What stands for ``https://app.harness.io/gateway/cf``."""
        return self.url + ADMIN_BASE

    def down(self) -> None:
        """Refuse connections and break the open ones, as a host does whose process died."""
        self.listener.refuse()

    async def up(self) -> None:
        """Accept connections again."""
        await self.listener.reopen()


@asynccontextmanager
async def serve(state: SandboxState, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[RunningSandbox]:
    """Serve ``state`` until the context is left; port 0 lets the system choose.

    Leaving ends open streams, lets answers under way go out for at most a second, and closes the rest.
    ``StartupError`` if the address cannot be had.
    """
    site = Site(state)
    listener = Listener(host, port)
    await listener.start(App(site, listener))
    try:
        yield RunningSandbox(site, listener)
    finally:
        site.close()
        await listener.close()
