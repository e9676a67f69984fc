"""A refresher that runs over a world."""

from ff_proxy.errors import FfProxyError
from ff_proxy.model.environment import Action, Change, Domain
from ff_proxy.upstream.credentials import Credentials
from ff_proxy.upstream.refresher import Refresher
from ff_proxy.upstream.response_tracker import ResponseTracker
from ff_proxy.upstream.writer import EnvironmentWriter, KeyRing
from tests.support.saas import ENV, KEY, FakeEnvironment
from tests.unit.upstream.world import ENVIRONMENT, World

FLAGS = "/client/env/{env}/feature-configs"
SEGMENTS = "/client/env/{env}/target-segments"
FLAG = f"{FLAGS}/{{id}}"


class Work:
    """A running refresher over the world."""

    def __init__(self, world: World, credentials: Credentials) -> None:
        self.world = world
        self.reports: list[FfProxyError | None] = []
        self.writer = EnvironmentWriter(
            world.configs, ENVIRONMENT, KeyRing([KEY.hash]), world.clock, loaded=False
        )
        self.response_tracker = ResponseTracker(world.clock)
        self.refresher = Refresher(
            world.context(), credentials, self.writer, self.response_tracker, self._report
        )

    @property
    def saas(self) -> FakeEnvironment:
        """What SaaS holds."""
        return self.world.saas.environments[ENV]

    def problem(self) -> FfProxyError | None:
        """Why the last whole fetch failed."""
        return self.refresher.last_error

    async def everything(self) -> None:
        """Ask for everything and let it happen."""
        self.refresher.refresh_all()
        await self.world.clock.settle()

    async def hear(self, action: Action, identifier: str, version: int, domain: Domain = Domain.FLAG) -> None:
        """An event, and what follows from it at once."""
        self.refresher.refresh(Change(action, domain, identifier, version))
        await self.world.clock.settle()

    async def _report(self) -> None:
        self.reports.append(self.refresher.last_error)
