"""Choosing the process that talks to Harness for an environment."""

from collections.abc import Awaitable, Callable
from typing import Protocol

from ff_proxy.model.keys import EnvironmentId, SdkKeyHash

Work = Callable[[], Awaitable[None]]
"""Talks to Harness for an environment, until cancelled."""


class Leadership(Protocol):
    """Leadership in a fleet (spec/behaviour#lease).

    ``contested``: another process could lead instead.
    """

    contested: bool

    def leads(self, environment: EnvironmentId) -> bool:
        """Whether this process leads the environment now."""
        ...

    async def lead(self, environment: EnvironmentId, work: Work, is_unreachable: Callable[[], bool]) -> None:
        """Run ``work``, which never ends, but only while this process leads the environment.

        If ``is_unreachable``, this process cannot reach Harness and lets others try.
        """
        ...

    async def forward_key(self, environment: EnvironmentId, key: SdkKeyHash) -> bool:
        """Forward a key that Harness accepted to the leader; ``True`` once the store has it."""
        ...

    async def leave(self, environment: EnvironmentId) -> None:
        """This process is no longer configured for the environment; it must not lead it."""
        ...


class SoleLeader:
    """The only process leads every environment."""

    contested = False

    def leads(self, environment: EnvironmentId) -> bool:
        """See ``Leadership``: always."""
        del environment
        return True

    async def lead(self, environment: EnvironmentId, work: Work, is_unreachable: Callable[[], bool]) -> None:
        """See ``Leadership``: there is no other process."""
        del environment, is_unreachable
        await work()

    async def forward_key(self, environment: EnvironmentId, key: SdkKeyHash) -> bool:
        """See ``Leadership``: there is no other process."""
        del environment, key
        return False

    async def leave(self, environment: EnvironmentId) -> None:
        """See ``Leadership``: it has nothing to do with an environment beside leading it."""
        del environment
