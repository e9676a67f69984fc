"""The store that a fleet shares: Redis or Valkey, single, behind Sentinel, or a Cluster.

The keys of an environment share a hash tag, so that a write and its notice are one script on one node.
Readers cache what they read, and fetch only what changed since. ``app`` opens the store; no other room knows
the Redis client.
"""

from ff_proxy.store.redis.beside_sync import ConfigsBesideSync
from ff_proxy.store.redis.clients import Endpoint
from ff_proxy.store.redis.leader_election import LeaderElection
from ff_proxy.store.redis.store import RedisStore

__all__ = [
    "ConfigsBesideSync",
    "Endpoint",
    "LeaderElection",
    "RedisStore",
]
