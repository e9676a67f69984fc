"""Reaching Redis in each of its forms, with every foreign error translated."""

import hashlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from enum import Enum
from typing import Any, Final, cast

import msgspec
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.client import PubSub
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    NoPermissionError,
    NoScriptError,
    RedisError,
)

from ff_proxy.errors import StoreUnavailable
from ff_proxy.model.keys import Secret
from ff_proxy.store.redis.cancelling import cancellation_heard

_CONNECT_SECONDS: Final = 2.0
_ANSWER_SECONDS: Final = 5.0
_RETRIES: Final = 1

Argument = str | bytes | int | float


class Topology(Enum):
    """What answers at the endpoint."""

    SINGLE = "single"
    SOCKET = "socket"
    CLUSTER = "cluster"
    SENTINEL = "sentinel"


class Endpoint(msgspec.Struct, frozen=True):
    """Where Redis is and how to enter.

    ``nodes`` are (host, port) pairs: the server, the seeds of the Cluster, or the Sentinels; ``service`` is
    the name under which Sentinels know the primary, ``socket`` a path.
    """

    topology: Topology
    nodes: tuple[tuple[str, int], ...] = ()
    socket: str = ""
    service: str = ""
    tls: bool = False
    username: str = ""
    password: Secret | None = None
    database: int = 0


class Script:
    """A Lua script: sent once, then called by its hash."""

    def __init__(self, source: str) -> None:
        self.source: Final = source
        self.sha: Final = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()


class Connection:
    """A pool of connections to one Redis; closed by ``close``."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._sentinel = _sentinel(endpoint) if endpoint.topology is Topology.SENTINEL else None
        self._client = _client(endpoint, self._sentinel)

    async def close(self) -> None:
        """Give back every connection."""
        with translated():
            if isinstance(self._client, Redis):
                await self._client.aclose(close_connection_pool=True)
            else:
                await self._client.aclose()
            for asked in self._sentinel.sentinels if self._sentinel is not None else ():
                await asked.aclose(close_connection_pool=True)

    async def do(self, *command: Argument) -> Any:
        """One command; bytes in, bytes out."""
        with translated():
            return await self._client.execute_command(*command)

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument]) -> Any:
        """A script over keys of one environment."""
        with translated():
            try:
                return await self._call("EVALSHA", script.sha, keys, arguments)
            except NoScriptError:
                return await self._call("EVAL", script.source, keys, arguments)

    async def each(self, commands: Sequence[Sequence[Argument]]) -> list[Any]:
        """Several commands in as few round trips as the form allows, answers in order."""
        if not commands:
            return []
        with translated():
            pipeline = self._client.pipeline(transaction=False)
            for command in commands:
                pipeline.execute_command(*command)
            return await pipeline.execute()

    @asynccontextmanager
    async def subscribed(self, channel: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """Payloads published to ``channel`` from now on.

        Raises ``StoreUnavailable`` when the connection is lost: what was published meanwhile is not told.
        """
        client = await self._subscriber()
        pubsub: PubSub = client.pubsub()
        try:
            with translated():
                await pubsub.subscribe(channel)
            yield _payloads(pubsub)
        finally:
            # Whoever is being cancelled must hear of that, and of nothing that goes wrong while it leaves.
            with suppress(StoreUnavailable), translated():
                await pubsub.aclose()  # type: ignore[no-untyped-call]  # the library leaves it untyped
                if client is not self._client:
                    await client.aclose()

    async def _subscriber(self) -> Redis:
        if not isinstance(self._client, RedisCluster):
            return self._client
        with translated():
            await self._client.initialize()
            node = self._client.get_random_node()
        # Any node of a Cluster hears what is published at any other.
        return Redis(**_options(self._endpoint), host=node.host, port=int(node.port))

    async def _call(
        self, command: str, script: str, keys: Sequence[str], arguments: Sequence[Argument]
    ) -> Any:
        call: Awaitable[Any] = self._client.execute_command(command, script, len(keys), *keys, *arguments)
        return await call


@contextmanager
def translated() -> Iterator[None]:
    """Whatever Redis or the network raises inside becomes ``StoreUnavailable``; a cancellation stays one."""
    try:
        with cancellation_heard():
            yield
    except (RedisError, OSError, TimeoutError) as error:
        if _is_refusal(error):
            raise StoreUnavailable(
                f"Redis refuses the credentials ({error}): check redis-username, redis-password and its ACL"
            ) from error
        raise StoreUnavailable(f"Redis: {str(error) or type(error).__name__}") from error
    except RuntimeError as error:
        # What uvloop says of a connection that ended between two steps of the library.
        if "closed" not in str(error):
            raise
        raise StoreUnavailable("Redis: the connection was closed") from error


def _is_refusal(error: BaseException | None) -> bool:
    # The library wraps a refusal met while connecting in a plain connection error.
    while error is not None:
        if isinstance(error, AuthenticationError | AuthorizationError | NoPermissionError):
            return True
        error = error.__cause__ or error.__context__
    return False


async def _payloads(pubsub: PubSub) -> AsyncIterator[bytes]:
    while True:
        with translated():
            message = await pubsub.get_message(ignore_subscribe_messages=True, timeout=None)
        if message is not None and isinstance(payload := message.get("data"), bytes):
            yield payload


def _sentinel(endpoint: Endpoint) -> Sentinel:
    asking = {"socket_timeout": _CONNECT_SECONDS, "socket_connect_timeout": _CONNECT_SECONDS}
    return Sentinel(  # type: ignore[no-untyped-call]  # the library leaves it untyped
        list(endpoint.nodes), sentinel_kwargs=asking, **_options(endpoint)
    )


def _client(endpoint: Endpoint, sentinel: Sentinel | None) -> Redis | RedisCluster:
    options = _options(endpoint)
    if endpoint.topology is Topology.CLUSTER:
        del options["db"]
        del options["retry"]
        return RedisCluster(
            startup_nodes=[ClusterNode(host, port) for host, port in endpoint.nodes], **options
        )
    if sentinel is not None:
        return cast("Redis", sentinel.master_for(endpoint.service))
    if endpoint.topology is Topology.SOCKET:
        return Redis(unix_socket_path=endpoint.socket, **options)
    ((host, port),) = endpoint.nodes
    return Redis(host=host, port=port, **options)


def _options(endpoint: Endpoint) -> dict[str, Any]:
    options: dict[str, Any] = {
        "username": endpoint.username or None,
        "password": endpoint.password.reveal() if endpoint.password else None,
        "db": endpoint.database,
        "socket_connect_timeout": _CONNECT_SECONDS,
        "socket_timeout": _ANSWER_SECONDS,
        "retry": Retry(NoBackoff(), _RETRIES),
        "protocol": 2,
    }
    if endpoint.tls:
        # The same trust as everywhere: the system's, or what SSL_CERT_FILE names.
        authorities = ssl.get_default_verify_paths()
        options |= {"ssl": True, "ssl_ca_certs": authorities.cafile or authorities.openssl_cafile}
    return options
