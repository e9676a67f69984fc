"""The proxy that ``ff-proxy sandbox -proxy`` runs in front of the sandbox."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from ff_proxy.commands.child_process import Child, child, until_ready
from ff_proxy.errors import ConfigError, StartupError
from ff_proxy.sandbox.server import RunningSandbox
from ff_proxy.sandbox.startup_message import proxy_options, server_keys

_PATIENCE: Final = 30.0


@asynccontextmanager
async def proxy_for(sandbox: RunningSandbox, port: int) -> AsyncIterator[tuple[Child, str]]:
    """A proxy on loopback, connected to ``sandbox`` and ready, with its URL; ended with the context.

    Raises ``StartupError`` for a port in use, and, with the end of its log, if it does not become ready;
    ``ConfigError`` for a port that SDKs cannot know.
    """
    if not port:
        raise ConfigError("proxy-port: 0 is not possible, since SDKs have to know the port")
    options = {
        **dict(proxy_options(sandbox, server_keys(sandbox))),
        "host": "127.0.0.1",
        "port": str(port),
        "shutdown-delay": "0",
    }
    _check_free(port)
    url = f"http://127.0.0.1:{port}"
    arguments = ["-m", "ff_proxy", *(f"-{name}={value}" for name, value in options.items())]
    async with child("ff-proxy", arguments, speaks_json=False) as proxy:
        await until_ready(proxy, url, _PATIENCE)
        yield proxy, url


def _check_free(port: int) -> None:
    """Another proxy there would answer in place of ours."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise StartupError(
                f"port {port} for the proxy is in use or reserved; try another -proxy-port"
            ) from error
