"""Clients of the library: whom they believe."""

from collections.abc import Iterator
from typing import Any

import pytest
from redis.asyncio import RedisCluster
from redis.asyncio.cluster import ClusterNode

from ff_proxy.model.redis import Topology
from ff_proxy.store.redis.clients import Clients, Endpoint
from ff_proxy.tls.trust import client_trust

NODES = (("127.0.0.1", 1), ("127.0.0.1", 2))


def connections(clients: Clients) -> Iterator[Any]:
    """One of each kind that these clients would make, unconnected."""
    client = clients.client
    if isinstance(client, RedisCluster):
        for node in (*client.startup_nodes, ClusterNode("127.0.0.1", 3, **client.connection_kwargs)):
            yield node.connection_class(**node.connection_kwargs)
        return
    pools: list[Any] = [client.connection_pool]
    if clients._sentinel is not None:
        pools += [asked.connection_pool for asked in clients._sentinel.sentinels]
    for pool in pools:
        yield pool.make_connection()


@pytest.mark.parametrize("topology", [Topology.SINGLE, Topology.CLUSTER, Topology.SENTINEL])
async def test_every_connection_believes_whom_everything_else_believes(topology: Topology) -> None:
    """Servers, nodes that are found later, and the Sentinels themselves; authorities are read once."""
    trust = client_trust({}).context
    nodes = NODES[:1] if topology is Topology.SINGLE else NODES
    clients = Clients(Endpoint(topology, nodes, service="main", trust=trust))
    made = list(connections(clients))
    assert all(one.ssl_context.get() is trust for one in made)
    assert len(made) == {Topology.SINGLE: 1, Topology.CLUSTER: 3, Topology.SENTINEL: 3}[topology]
    await clients.close()


@pytest.mark.parametrize("topology", [Topology.SINGLE, Topology.CLUSTER, Topology.SENTINEL])
async def test_without_trust_there_is_no_tls(topology: Topology) -> None:
    """As ``redis://`` says."""
    nodes = NODES[:1] if topology is Topology.SINGLE else NODES
    clients = Clients(Endpoint(topology, nodes, service="main"))
    assert not any(hasattr(one, "ssl_context") for one in connections(clients))
    await clients.close()
