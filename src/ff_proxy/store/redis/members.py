"""The members of the fleet: each lists itself again and again, or is dropped."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import msgspec

from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.member import FleetMember, SeenMember
from ff_proxy.store.fleet_presence import LISTED_SECONDS
from ff_proxy.store.redis.connection import Argument, Connection, Script
from ff_proxy.store.redis.errors import translated
from ff_proxy.store.redis.keys import Keys
from ff_proxy.store.redis.leases import Leases
from ff_proxy.store.redis.replicated_set import ReplicatedSet

_MOST: Final = 500
_MILLISECONDS: Final = 1000

# Uses the clock of Redis, so that those of members do not matter. Begins with a write that needs no memory,
# as scripts for leases do. Entries of the future were written before a failover to a slower clock.
_LIST: Final = Script("""
-- KEYS: members; ARGV: the member, its previous entry, milliseconds, most members
-- Returns 0 if the list is full.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now - tonumber(ARGV[3])))
redis.call('ZREMRANGEBYSCORE', KEYS[1], string.format('(%.0f', now + 1000), '+inf')
if ARGV[2] ~= ARGV[1] then redis.call('ZREM', KEYS[1], ARGV[2]) end
local listed = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not listed and redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[4]) then return 0 end
redis.call('ZADD', KEYS[1], string.format('%.0f', now), ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
""")

_READ: Final = Script("""
-- KEYS: members; returns the time in milliseconds, then each entry and when it was listed.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
return {string.format('%.0f', now), redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')}
""")

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(FleetMember).decode


class RedisMembers:
    """The list of members, and the leader of each environment; its methods raise ``StoreUnavailable``.

    Attributes:
        own: the name of this member.
    """

    def __init__(self, connection: Connection, keys: Keys, leases: Leases) -> None:
        self._connection = connection
        self._keys = keys
        self._list = ReplicatedSet(connection, keys.members)
        self._said = b""
        self.own: Final = leases.member

    async def put(self, member: FleetMember) -> bool:
        """List this member as it is now for the next ``LISTED_SECONDS``; ``False`` if the list is full."""
        says = _encode(member)
        arguments: list[Argument] = [says, self._said or says, round(LISTED_SECONDS * _MILLISECONDS), _MOST]
        taken = await self._list.on_each_copy(lambda copy: self._connection.run(_LIST, [copy], arguments))
        self._said = says
        return any(taken)

    async def take_out(self) -> None:
        """Remove this member from the list."""
        if self._said:
            await self._list.on_each_copy(lambda copy: self._connection.do("ZREM", copy, self._said))

    async def present(self) -> Sequence[SeenMember]:
        """Every member that was listed within ``LISTED_SECONDS``, by name."""
        answers = await self._list.on_each_copy(lambda copy: self._connection.run(_READ, [copy], []))
        newest: dict[str, SeenMember] = {}
        with translated():
            for one in (seen for answer in answers for seen in _seen(answer)):
                known = newest.get(one.member.id)
                if one.age <= LISTED_SECONDS and (known is None or one.age < known.age):
                    newest[one.member.id] = one
        return [newest[name] for name in sorted(newest)]

    async def leaders(self, environments: Iterable[EnvironmentId]) -> Mapping[EnvironmentId, str]:
        """The name of the member that leads each environment, if one does."""
        names = list(environments)
        held = await self._connection.settle_each([("GET", self._keys.lease(name)) for name in names])
        with translated():
            return {
                name: lease.rpartition(b"|")[0].decode()
                for name, lease in zip(names, held, strict=True)
                if isinstance(lease, bytes)
            }


def _seen(answer: Any) -> Iterable[SeenMember]:
    now, listed = answer
    for said, at in zip(listed[::2], listed[1::2], strict=True):
        with suppress(msgspec.MsgspecError):  # from a version with another format
            yield SeenMember(_decode(said), max(0.0, float(now) - float(at)) / _MILLISECONDS)
