"""Who talks to SaaS for an environment, where several processes could."""

from collections.abc import Awaitable, Callable
from typing import Protocol

from ff_proxy.model.keys import EnvironmentId, SdkKeyHash


class Leadership(Protocol):
    """What the upstream needs of a fleet (spec/behaviour#lease).

    ``contested`` says whether another process could lead instead.
    """

    contested: bool

    async def lead(
        self,
        environment: EnvironmentId,
        work: Callable[[], Awaitable[None]],
        hopeless: Callable[[], bool],
    ) -> None:
        """Run ``work`` whenever, and only while, this process leads the environment; for ever.

        ``hopeless`` says that the work leads to nothing here, so that others should have a try.
        """
        ...

    async def pass_on(self, environment: EnvironmentId, key: SdkKeyHash) -> bool:
        """Have whoever leads take in a key that SaaS accepted; ``True`` once the store holds it."""
        ...


class SoleLeader:
    """The only process there is leads everything."""

    contested = False

    async def lead(
        self,
        environment: EnvironmentId,
        work: Callable[[], Awaitable[None]],
        hopeless: Callable[[], bool],
    ) -> None:
        """See ``Leadership``: there is nobody else."""
        del environment, hopeless
        await work()

    async def pass_on(self, environment: EnvironmentId, key: SdkKeyHash) -> bool:
        """See ``Leadership``: there is nobody to pass it on to."""
        del environment, key
        return False
