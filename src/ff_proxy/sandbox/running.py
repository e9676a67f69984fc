"""A running sandbox: all its parts, for its routes and for programs that embed it."""

import asyncio
from typing import Final, final

from ff_proxy.sandbox.connection import Connection
from ff_proxy.sandbox.faults import Faults
from ff_proxy.sandbox.keys import Key
from ff_proxy.sandbox.listener import Listener
from ff_proxy.sandbox.received import Journal, ReceivedUsage
from ff_proxy.sandbox.state import SandboxState
from ff_proxy.sandbox.streams import Streams

CLIENT_BASE: Final = "/api/1.0"
"""Where Harness's client, stream and metrics services live below their hosts."""

ADMIN_BASE: Final = "/gateway/cf"
"""Where Harness's admin service lives below its host."""


@final
class RunningSandbox:
    """A sandbox's parts; they may be used directly, on the loop that runs it.

    ``state`` has what it serves, ``usage`` and ``journal`` what it received; ``hung`` are connections that a
    fault keeps waiting. ``closing`` is set at the end, so that nothing sleeps through it.
    """

    def __init__(self, state: SandboxState, listener: Listener) -> None:
        self.state: Final = state
        self.listener: Final = listener
        self.streams: Final = Streams(state.settings)
        self.faults: Final = Faults()
        self.usage: Final = ReceivedUsage()
        self.journal: Final = Journal()
        self.hung: Final[set[Connection]] = set()
        self.closing: Final = asyncio.Event()
        self._unsubscribe = state.subscribe(self.streams.publish)

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

    def clear_faults(self, route: str | None = None) -> None:
        """Clear faults (of one route if given) and reset every connection that hangs."""
        self.faults.clear(route)
        for connection in tuple(self.hung):
            connection.reset()

    def revoke(self, environment: str, key: str) -> Key:
        """Take a key (by name, text or hash) from an environment and end the streams that it opened."""
        revoked = self.state.find(environment).revoke(key)
        self.streams.cut_key(revoked.hash)
        return revoked

    def remove(self, environment: str) -> None:
        """Remove an environment and end its streams."""
        self.streams.cut(self.state.remove(environment).info.id)

    async def close(self) -> None:
        """End open streams and waits, let answers under way go out for at most a second, close the rest."""
        self.closing.set()
        self._unsubscribe()
        self.clear_faults()
        self.streams.cut()
        await self.listener.close()
