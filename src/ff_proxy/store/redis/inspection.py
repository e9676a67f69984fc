"""Inspects a Redis and our rights in it, without touching the keys of a fleet."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import msgspec

from ff_proxy.errors import StoreUnavailable
from ff_proxy.model.redis import Topology
from ff_proxy.store.redis.clients import CONNECT_SECONDS, Clients, Endpoint
from ff_proxy.store.redis.connection import Argument, Connection, Script
from ff_proxy.store.redis.keys import Keys

_SCRATCH_SECONDS: Final = 60
_NO_RIGHT: Final = ("NOPERM", "no permissions", "can't run this command", "ACL failure")
# One of these is in the facts of one server; other answers are by node.
_NAMED: Final = frozenset({"redis_version", "cluster_state"})
_PROBE: Final = Script("return redis.call('TIME')")


class RedisFacts(msgspec.Struct, frozen=True):
    """The facts; texts are empty and numbers 0 where the server does not say.

    ``forbidden`` are commands and channels that the user has no right to, ``silent`` are Sentinels that do
    not answer. ``cluster`` is the state that the Cluster reports, ``slots`` the number of served slots.
    """

    version: str = ""
    role: str = ""
    milliseconds: float = 0.0
    maxmemory: int = 0
    policy: str = ""
    clustered: bool = False
    cluster: str = ""
    slots: int = 0
    forbidden: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()


def commands_tried(key: str) -> list[Sequence[Argument]]:
    """Every command that the store uses, on scratch keys that expire."""
    text, table, members, scores = (f"{key}:{part}" for part in ("text", "hash", "set", "zset"))
    tried: list[Sequence[Argument]] = [
        ("SET", text, "1", "EX", _SCRATCH_SECONDS),
        ("GET", text),
        ("EXISTS", text),
        ("PEXPIRE", text, _SCRATCH_SECONDS * 1000),
        ("PTTL", text),
        ("HSET", table, "a", "1"),
        ("HSETNX", table, "b", "1"),
        ("HGET", table, "a"),
        ("HMGET", table, "a"),
        ("HGETALL", table),
        ("HLEN", table),
        ("HEXISTS", table, "a"),
        ("HRANDFIELD", table),
        ("HINCRBY", table, "c", 1),
        ("HSCAN", table, 0),
        ("HDEL", table, "b"),
        ("SADD", members, "a", "b"),
        ("SMEMBERS", members),
        ("SRANDMEMBER", members),
        ("SREM", members, "b"),
        ("ZADD", scores, 1, "a", 2, "b"),
        ("ZCARD", scores),
        ("ZSCORE", scores, "a"),
        ("ZRANGE", scores, 0, -1),
        ("ZREVRANGE", scores, 0, 0),
        ("ZRANGEBYSCORE", scores, 0, 1),
        ("ZREMRANGEBYRANK", scores, 5, 6),
        ("ZREMRANGEBYSCORE", scores, 5, 6),
        ("ZREM", scores, "b"),
        ("TIME",),
        ("PUBLISH", f"{key}:channel", ""),
    ]
    tried += [("EXPIRE", name, _SCRATCH_SECONDS) for name in (table, members, scores)]
    tried += [("DEL", name) for name in (text, table, members, scores)]
    return tried


async def inspect_redis(endpoint: Endpoint, prefix: str, scratch: str) -> RedisFacts:
    """Inspect the Redis at ``endpoint``; ``scratch`` is in the names of keys that it writes and deletes.

    Raises ``StoreUnavailable`` if it cannot be used at all.
    """
    clients = Clients(endpoint)
    connection = Connection(clients)
    clock = asyncio.get_running_loop().time
    try:
        await _enter(connection, f"{prefix}:{{{scratch}}}:text")
        began = clock()
        with suppress(StoreUnavailable):  # a refusal takes as long
            await connection.do("TIME")
        facts = RedisFacts(milliseconds=(clock() - began) * 1000)
        facts = await _described(connection, facts)
        forbidden = await _forbidden_commands(connection, f"{prefix}:{{{scratch}}}")
        forbidden += await _forbidden_channels(connection, Keys(prefix))
    finally:
        await connection.close()
    silent: tuple[str, ...] = ()
    if endpoint.topology is Topology.SENTINEL:
        silent = await _silent(endpoint.nodes)
    return msgspec.structs.replace(facts, forbidden=tuple(forbidden), silent=silent)


async def _enter(connection: Connection, key: str) -> None:
    """Send the first command: what makes it fail makes all fail."""
    for last in (False, True):
        try:
            await connection.do("GET", key)
        except StoreUnavailable as error:
            if _forbidden(error):
                return
            if last:
                raise  # the first one may have found out that this is a Cluster
        else:
            return


async def _described(connection: Connection, facts: RedisFacts) -> RedisFacts:
    """Add what the server reports, if the user may ask."""
    with suppress(StoreUnavailable):
        info = _first(await connection.do("INFO"))
        facts = msgspec.structs.replace(
            facts,
            version=_text(info, "redis_version"),
            role=_text(info, "role"),
            maxmemory=int(_text(info, "maxmemory") or 0),
            policy=_text(info, "maxmemory_policy"),
            clustered=_text(info, "redis_mode") == "cluster",
        )
    if facts.clustered:
        with suppress(StoreUnavailable):
            state = _first(await connection.do("CLUSTER INFO"))
            facts = msgspec.structs.replace(
                facts,
                cluster=_text(state, "cluster_state"),
                slots=int(_text(state, "cluster_slots_ok") or 0),
            )
    return facts


async def _forbidden_commands(connection: Connection, key: str) -> list[str]:
    found: list[str] = []
    for command in commands_tried(key):
        try:
            await connection.do(*command)
        except StoreUnavailable as error:
            # Channels are checked separately.
            if _forbidden(error) and "channel" not in str(error.__cause__):
                found.append(str(command[0]))
            elif not _forbidden(error):
                raise
    try:
        await connection.run(_PROBE, [f"{key}:text"], [])
    except StoreUnavailable as error:
        if not _forbidden(error):
            raise
        found.append("EVAL, EVALSHA")
    return list(dict.fromkeys(found))


async def _forbidden_channels(connection: Connection, keys: Keys) -> list[str]:
    found = []
    for channel in (keys.notices, keys.bus):
        try:
            async with connection.subscribed(channel):
                pass
        except StoreUnavailable as error:
            if not _forbidden(error):
                raise
            found.append(f"SUBSCRIBE {channel}")
    return found


async def _silent(nodes: Sequence[tuple[str, int]]) -> tuple[str, ...]:
    async def is_silent(host: str, port: int) -> bool:
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                _, writer = await asyncio.open_connection(host, port)
        except OSError:
            return True
        writer.close()
        return False

    answers = await asyncio.gather(*(is_silent(host, port) for host, port in nodes))
    return tuple(f"{host}:{port}" for (host, port), silent in zip(nodes, answers, strict=True) if silent)


def _forbidden(error: StoreUnavailable) -> bool:
    return any(mark in str(error) for mark in _NO_RIGHT)


def _first(answer: Any) -> Mapping[str, Any]:
    """The facts of one server: a Cluster client may return those of several, by node."""
    if isinstance(answer, Mapping):
        first = next(iter(answer.values()), None)
        return first if isinstance(first, Mapping) and not _NAMED & answer.keys() else answer
    return {}


def _text(facts: Mapping[str, Any], name: str) -> str:
    found = facts.get(name, "")
    return found.decode() if isinstance(found, bytes) else str(found)
