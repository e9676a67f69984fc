"""Redis clients for every topology."""

import asyncio
import ssl
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final, cast

import msgspec
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import SSLConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import MasterNotFoundError, Sentinel, SentinelManagedSSLConnection
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.exceptions import ResponseError

from ff_proxy.errors import StoreUnavailable
from ff_proxy.model.keys import Secret
from ff_proxy.model.redis import Topology
from ff_proxy.store.redis.errors import translated
from ff_proxy.store.redis.keys import encoded

CONNECT_SECONDS: Final = 2.0
_PROBE_SECONDS: Final = 1.0
# How often a Cluster's slots are read again while one of its nodes does not answer.
_REFRESH_SECONDS: Final = 2.0
# Errors of Sentinels that require another password, or none.
_AUTH_ERRORS: Final = ("AuthenticationError", "NOAUTH", "WRONGPASS", "AUTH")


class Endpoint(msgspec.Struct, frozen=True):
    """Where Redis is, and the credentials.

    ``nodes`` are (host, port) pairs: the server, the seeds of the Cluster, or the Sentinels; ``service`` is
    the Sentinels' name for the primary, ``socket`` a path. With ``trust`` all connections use TLS.
    """

    topology: Topology
    nodes: tuple[tuple[str, int], ...] = ()
    socket: str = ""
    service: str = ""
    trust: ssl.SSLContext | None = None
    username: str = ""
    password: Secret | None = None
    database: int = 0


class Clients:
    """Clients for commands, one per node of a Cluster, and clients for subscriptions; closed by ``close``.

    A Cluster client that meets a node which does not answer discovers all nodes again, and drops its calls to
    the others. So each node has a client of its own, which follows its slots when they move.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._sentinel = _Sentinels(endpoint) if endpoint.topology is Topology.SENTINEL else None
        self.client = self._make()
        self._by_node: dict[str, RedisCluster] = {}
        self._listened = 0
        self._slots_lock = asyncio.Lock()
        self._unresponsive: set[str] = set()
        self._refreshed_at = 0.0
        self._refreshing: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._closed = False

    @property
    def clustered(self) -> bool:
        """Whether keys are spread over several nodes."""
        return isinstance(self.client, RedisCluster)

    async def ensure_slots(self) -> None:
        """Learn which node of a Cluster holds which slots, unless that is known."""
        if isinstance(self.client, RedisCluster) and not self.client.nodes_manager.slots_cache:
            async with self._slots_lock:
                if not self.client.nodes_manager.slots_cache:
                    await self._refresh_slots()

    def mark_unresponsive(self, node: str) -> None:
        """A node did not answer: another may have its slots now, so read them again in the background."""
        self._unresponsive.add(node)
        due = asyncio.get_running_loop().time() - self._refreshed_at > _REFRESH_SECONDS
        if self.clustered and due and self._refreshing is None:
            self._refreshing = asyncio.create_task(self._refresh_in_background())

    def mark_responsive(self, node: str) -> None:
        """A node answered."""
        self._unresponsive.discard(node)

    def is_unresponsive(self, node: str) -> bool:
        """Whether the last call to a node got no answer."""
        return node in self._unresponsive

    async def _refresh_in_background(self) -> None:
        try:
            with suppress(StoreUnavailable), translated():  # what is known stays
                await self._refresh_slots()
        finally:
            self._refreshed_at = asyncio.get_running_loop().time()
            self._refreshing = None

    async def _refresh_slots(self) -> None:
        known = {(one.host, int(one.port)) for one in self._nodes()} | set(self._endpoint.nodes)
        # The library asks one node after another, and waits many seconds for a silent one.
        nodes = sorted(known)
        answers = await asyncio.gather(*map(self._answers, nodes))
        made = self._make([node for node, answered in zip(nodes, answers, strict=True) if answered])
        assert isinstance(made, RedisCluster)  # noqa: S101  (the endpoint says so)
        try:
            await made.initialize()
        except BaseException:
            await _close(made)
            raise
        former, self.client = self.client, made
        held = {one.name for one in self._nodes()}
        gone = [self._by_node.pop(node) for node in self._by_node.keys() - held]
        for client in (former, *gone):
            if isinstance(client, RedisCluster):
                await _close(client)

    def _nodes(self) -> Sequence[ClusterNode]:
        return self.client.get_nodes() if isinstance(self.client, RedisCluster) else ()

    def node(self, key: str) -> str:
        """The node of a Cluster that holds the key, as far as known; empty if unknown."""
        if not isinstance(self.client, RedisCluster):
            return ""
        nodes = self.client.nodes_manager.slots_cache.get(key_slot(encoded(key)))
        return nodes[0].name if nodes else ""

    def of_node(self, node: str) -> Redis | RedisCluster:
        """The client for the slots of a node."""
        if not isinstance(self.client, RedisCluster):
            return self.client
        if node not in self._by_node:
            seeds = [(one.host, int(one.port)) for one in self._nodes() if one.name == node]
            made = self._make(seeds)
            assert isinstance(made, RedisCluster)  # noqa: S101  (the endpoint says so)
            self._by_node[node] = made
        return self._by_node[node]

    async def listener(self) -> Redis:
        """A new client for subscriptions; close it with ``aclose``.

        It never reconnects by itself: messages would be missed without notice.
        """
        if not isinstance(self.client, RedisCluster):
            made = self._make()
            assert isinstance(made, Redis)  # noqa: S101  (only a Cluster has the other client)
            return made
        await self.client.initialize()
        # A Cluster node receives what is published on any other.
        nodes = self.client.get_nodes()
        self._listened += 1
        node = nodes[self._listened % len(nodes)]
        return self._secured(Redis(host=node.host, port=int(node.port), **_options(self._endpoint)))

    async def follow_slots(self) -> bool:
        """Switch to the Cluster that the single address belongs to.

        ``False`` if the client already follows slots.
        """
        if self._endpoint.topology is not Topology.SINGLE:
            return False
        former, self._endpoint = (
            self.client,
            msgspec.structs.replace(self._endpoint, topology=Topology.CLUSTER),
        )
        self.client = self._make()
        if isinstance(former, Redis):
            await former.connection_pool.disconnect(inuse_connections=False)
        return True

    async def forget(self) -> None:
        """Reconnect: the server at the address is no longer the primary."""
        if isinstance(self.client, Redis):
            await self.client.connection_pool.disconnect(inuse_connections=False)

    def replace_idle(self) -> None:
        """Replace the clients for commands, and close the connections of the former ones in the background.

        Only while no call runs.
        """
        if self._closed:
            return
        former: list[Redis | RedisCluster]
        if isinstance(self.client, RedisCluster):
            former = [*self._by_node.values()]
            self._by_node.clear()
        else:
            former, self.client = [self.client], self._make()
        closing = asyncio.create_task(self._close_former(former))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    async def _close_former(self, former: Sequence[Redis | RedisCluster]) -> None:
        for client in former:
            with suppress(StoreUnavailable), translated():
                await _close(client)

    async def close(self) -> None:
        """Close every connection."""
        self._closed = True
        background = [*self._closing, *([] if self._refreshing is None else [self._refreshing])]
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)
        for client in (self.client, *self._by_node.values()):
            await _close(client)
        if self._sentinel is not None:
            await self._sentinel.aclose()

    async def _answers(self, node: tuple[str, int]) -> bool:
        options = _options(self._endpoint)
        host, port = node
        asked = self._secured(Redis(host=host, port=port, **options))
        try:
            with suppress(StoreUnavailable), translated():
                async with asyncio.timeout(_PROBE_SECONDS):
                    await asked.ping()
                return True
        finally:
            with suppress(StoreUnavailable), translated():
                await asked.aclose(close_connection_pool=True)
        return False

    def _make(self, seeds: Sequence[tuple[str, int]] = ()) -> Redis | RedisCluster:
        endpoint = self._endpoint
        options = _options(endpoint)
        if endpoint.topology is Topology.CLUSTER:
            del options["db"]
            # Its retries follow moved slots and failovers, so they stay the library's.
            del options["retry"]
            # A silent node must not keep it from asking another.
            options["socket_timeout"] = CONNECT_SECONDS
            nodes = [ClusterNode(host, port) for host, port in seeds or endpoint.nodes]
            # Serve environments whose slots are covered, whatever happens to the others.
            cluster = RedisCluster(startup_nodes=nodes, require_full_coverage=False, **options)
            cluster.commands_parser = cast("Any", _FirstIsKey())
            if endpoint.trust is not None:
                # Used for nodes that are discovered later; the seed nodes already exist.
                cluster.connection_kwargs["connection_class"] = _tls(SSLConnection, endpoint.trust)
                for node in cluster.startup_nodes:
                    node.connection_class = cluster.connection_kwargs["connection_class"]
            return cluster
        if self._sentinel is not None:
            known = cast("Redis", self._sentinel.master_for(endpoint.service))
            return self._secured(known, SentinelManagedSSLConnection)
        if endpoint.topology is Topology.SOCKET:
            return Redis(unix_socket_path=endpoint.socket, **options)
        ((host, port),) = endpoint.nodes
        return self._secured(Redis(host=host, port=port, **options))

    def _secured(self, client: Redis, base: type[SSLConnection] = SSLConnection) -> Redis:
        return _secured(client, base, self._endpoint.trust)


class _Sentinels(Sentinel):
    """The Sentinels of an endpoint, with or without credentials.

    Many Sentinels have no password although their servers do, and refuse one. So this tries with credentials,
    then without, beginning with what worked last.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        asking: dict[str, Any] = {
            "socket_timeout": CONNECT_SECONDS,
            "socket_connect_timeout": CONNECT_SECONDS,
        }
        ways = [asking]
        if endpoint.password:
            password = endpoint.password.reveal()
            ways.insert(0, asking | {"username": endpoint.username or None, "password": password})
        if endpoint.trust is not None:
            ways = [way | {"ssl": True} for way in ways]
        super().__init__(  # type: ignore[no-untyped-call]  # the library leaves it untyped
            list(endpoint.nodes), sentinel_kwargs=ways[0], **_options(endpoint)
        )
        self._ways = [
            Sentinel(list(endpoint.nodes), sentinel_kwargs=way)  # type: ignore[no-untyped-call]  # as above
            for way in ways
        ]
        for asked in self._clients():
            _secured(asked, SSLConnection, endpoint.trust)

    async def discover_master(self, service_name: str) -> tuple[str, int]:
        """Where the primary is."""
        refusal: Exception | None = None
        for way in tuple(self._ways):
            try:
                found: tuple[str, int] = await way.discover_master(service_name)
            except (MasterNotFoundError, ResponseError) as error:
                if not any(mark in str(error) for mark in _AUTH_ERRORS):
                    raise
                refusal = refusal or error
            else:
                if self._ways[0] is not way:
                    self._ways.remove(way)
                    self._ways.insert(0, way)
                return found
        raise refusal or MasterNotFoundError(service_name)

    async def aclose(self) -> None:
        """Close every connection."""
        for asked in self._clients():
            await asked.aclose(close_connection_pool=True)

    def _clients(self) -> list[Redis]:
        return [*self.sentinels, *(one for way in self._ways for one in way.sentinels)]


def _secured(client: Redis, base: type[SSLConnection], trust: ssl.SSLContext | None) -> Redis:
    """Make an unconnected ``client`` use TLS, if configured."""
    if trust is not None:
        client.connection_pool.connection_class = _tls(base, trust)
    return client


async def _close(client: Redis | RedisCluster) -> None:
    if isinstance(client, Redis):
        await client.aclose(close_connection_pool=True)
        return
    await client.aclose()
    # ``aclose`` closes nothing while the client is about to discover its nodes again.
    for nodes in ("nodes_cache", "startup_nodes"):
        await client.nodes_manager.aclose(nodes)


class _FirstIsKey:
    """Finds the key of a command: the first argument, in every command used here.

    The library would ask one node for its command table at the start, and no other if that is silent.
    """

    async def initialize(self, node: object) -> None:
        """Nothing to do."""

    async def get_keys(self, *command: Any) -> Sequence[Any]:
        """The keys of a command and its arguments."""
        return command[1:2]


def _tls(base: type[SSLConnection], trust: ssl.SSLContext) -> type[SSLConnection]:
    """Connections with the proxy's trusted certificates.

    By default the library loads all authorities for every connection, which blocks the event loop, and has no
    option for a directory.
    """

    class TlsConnection(base):  # type: ignore[misc, valid-type]  # a class that is a value
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.ssl_context.context = trust

    return TlsConnection


def _options(endpoint: Endpoint) -> dict[str, Any]:
    options: dict[str, Any] = {
        "username": endpoint.username or None,
        "password": endpoint.password.reveal() if endpoint.password else None,
        "db": endpoint.database,
        "socket_connect_timeout": CONNECT_SECONDS,
        # The caller sets the timeout: the library's own timeouts lose cancellations (bpo-37658).
        "socket_timeout": None,
        # Not every command may be sent twice, and the pool detects dead connections itself.
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
    }
    if endpoint.trust is not None:
        options["ssl"] = True
    return options
