"""A set with copies on several nodes of a Cluster, so that it is available while one of them is away."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

from ff_proxy.model.keys import EnvironmentId
from ff_proxy.store.redis.connection import Argument, Connection, Script, first_answers
from ff_proxy.wire.text import clean_text

_ADD: Final = Script("""
-- KEYS: set; ARGV: members
-- Begins with a write that needs no memory, see ``scripts``.
redis.call('SREM', KEYS[1], '')
for _, member in ipairs(ARGV) do redis.call('SADD', KEYS[1], member) end
""")


class ReplicatedSet:
    """Adds members to every copy that answers, and reads the union of the copies.

    Its methods raise ``StoreUnavailable`` if no copy answers.
    """

    def __init__(self, connection: Connection, name: str) -> None:
        self._connection = connection
        self._name = name

    async def members(self, most: int | None = None) -> set[bytes]:
        """All members, or about ``most`` random ones."""

        def ask(copy: str) -> Awaitable[list[bytes]]:
            if most is None:
                return self._connection.do("SMEMBERS", copy)
            return self._connection.do("SRANDMEMBER", copy, most)

        return {member for found in await self.on_each_copy(ask) for member in found}

    async def texts(self, most: int | None = None) -> set[str]:
        """The members as texts, without those that are not UTF-8: another program added them."""
        found = set()
        for member in await self.members(most):
            with suppress(UnicodeDecodeError):
                found.add(member.decode("utf-8", "surrogatepass"))
        return found

    async def environments(self) -> list[EnvironmentId]:
        """The members as environments, sorted, without those that no Redis key can be named after."""
        return sorted(EnvironmentId(text) for text in await self.texts() if clean_text(text) == text)

    async def add(self, *members: Argument) -> None:
        """Add members."""
        await self.on_each_copy(lambda copy: self._connection.run(_ADD, [copy], members))

    async def remove(self, member: Argument) -> None:
        """Remove a member."""
        await self.on_each_copy(lambda copy: self._connection.do("SREM", copy, member))

    async def on_each_copy(self, ask: Callable[[str], Awaitable[Any]]) -> list[Any]:
        """The answers of the copies that answer, at the latest soon after the first one."""
        copies = self._connection.copies(self._name)
        if len(copies) == 1:
            return [await ask(copies[0])]
        found = await first_answers(map(ask, copies), lambda _: True)
        answers = [answer for answer in found if not isinstance(answer, BaseException)]
        for error in found:
            if not answers and isinstance(error, BaseException):
                raise error
        return answers
