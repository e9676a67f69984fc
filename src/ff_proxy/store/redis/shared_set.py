"""A set that every member needs, whichever node of a Cluster is away: each copy of it is on another."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from ff_proxy.model.keys import EnvironmentId
from ff_proxy.store.redis.connection import Argument, Connection, soon
from ff_proxy.wire.text import clean_text


class SharedSet:
    """Members are added to every copy that answers, and read from all of them together.

    Its methods raise ``StoreUnavailable`` if no copy answers.
    """

    def __init__(self, connection: Connection, name: str) -> None:
        self._connection = connection
        self._name = name

    async def members(self, most: int | None = None) -> set[bytes]:
        """All members, or about ``most`` of them, drawn by chance."""

        def ask(copy: str) -> Awaitable[list[bytes]]:
            if most is None:
                return self._connection.do("SMEMBERS", copy)
            return self._connection.do("SRANDMEMBER", copy, most)

        return {member for found in await self.at_each(ask) for member in found}

    async def texts(self, most: int | None = None) -> set[str]:
        """The same as texts; what is no text was put there by somebody else, and is left out."""
        found = set()
        for member in await self.members(most):
            with suppress(UnicodeDecodeError):
                found.add(member.decode("utf-8", "surrogatepass"))
        return found

    async def environments(self) -> list[EnvironmentId]:
        """The members as environments, in order; without those that no key of Redis can be named after."""
        return sorted(EnvironmentId(text) for text in await self.texts() if clean_text(text) == text)

    async def add(self, *members: Argument) -> None:
        """Add members."""
        await self.at_each(lambda copy: self._connection.do("SADD", copy, *members))

    async def remove(self, member: Argument) -> None:
        """Take a member out."""
        await self.at_each(lambda copy: self._connection.do("SREM", copy, member))

    async def at_each(self, ask: Callable[[str], Awaitable[Any]]) -> list[Any]:
        """What those copies say that answer, or do so soon after the first."""
        copies = self._connection.copies(self._name)
        if len(copies) == 1:
            return [await ask(copies[0])]
        found = await soon(map(ask, copies), lambda _: True)
        answers = [answer for answer in found if not isinstance(answer, BaseException)]
        for error in found:
            if not answers and isinstance(error, BaseException):
                raise error
        return answers
