"""Everything a running sandbox holds, for its routes and for programs that embed it."""

import asyncio
from typing import Final, final

from ff_proxy.sandbox.connection import Connection
from ff_proxy.sandbox.faults import Faults
from ff_proxy.sandbox.keys import Key
from ff_proxy.sandbox.received import Journal, ReceivedUsage
from ff_proxy.sandbox.state import SandboxState
from ff_proxy.sandbox.streams import Streams
from ff_proxy.sandbox.tokens import Tokens

# Always the same, so that a restarted sandbox accepts the tokens that it gave before.
_SIGNING_SECRET: Final = "the-sandbox-signs-with-a-secret-that-is-not-one"  # noqa: S105  (says so itself)


@final
class Site:
    """A sandbox's parts.

    ``state`` is what it serves, ``streams`` who listens, ``faults`` how it misbehaves, ``usage`` and
    ``journal`` what came in, ``hung`` the connections that a fault keeps waiting, ``closing`` is set when
    it is about to end, so that nothing sleeps through that.
    """

    def __init__(self, state: SandboxState) -> None:
        self.state: Final = state
        self.tokens: Final = Tokens(_SIGNING_SECRET)
        self.streams: Final = Streams(state.settings)
        self.faults: Final = Faults()
        self.usage: Final = ReceivedUsage()
        self.journal: Final = Journal()
        self.hung: Final[set[Connection]] = set()
        self.closing: Final = asyncio.Event()
        self._unsubscribe = state.subscribe(self.streams.publish)

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

    def close(self) -> None:
        """End every stream and every wait, and stop listening to the state."""
        self.closing.set()
        self._unsubscribe()
        self.clear_faults()
        self.streams.cut()
