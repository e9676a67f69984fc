"""The forms of Redis."""

from enum import Enum


class Topology(Enum):
    """What is at a Redis address; the value is the scheme of its URL."""

    SINGLE = "redis"
    SOCKET = "unix"
    CLUSTER = "redis+cluster"
    SENTINEL = "redis+sentinel"
