"""What a member knows of environments, whatever Redis says."""

from collections.abc import Mapping

import msgspec

from ff_proxy.model.environment import NEVER, EnvironmentConfig, Revision
from ff_proxy.model.keys import EnvironmentId


class Held(msgspec.Struct, frozen=True):
    """An environment as it is served.

    ``seen`` is the state in Redis that is in it: the same as its own revision, unless Redis went back.
    ``fence`` is the highest fencing number and ``life`` the number of removals that ``seen`` comes after.
    """

    config: EnvironmentConfig | None = None
    seen: Revision = NEVER
    fence: int = 0
    life: int = 0

    def may_be_after(self, found: Revision) -> bool:
        """Whether ``found`` may be an older state, as after a failover that lost the last writes."""
        return found.epoch != self.seen.epoch or found.counter < self.seen.counter


_NOTHING = Held()


class HeldEnvironments:
    """The newest state of each environment that was read or written here."""

    def __init__(self) -> None:
        self._held: dict[EnvironmentId, Held] = {}

    def get(self, environment: EnvironmentId) -> Held:
        """What is known; nothing if nothing is."""
        return self._held.get(environment, _NOTHING)

    def put(self, environment: EnvironmentId, held: Held) -> None:
        """Know this from now on."""
        self._held[environment] = held

    def configs(self) -> Mapping[EnvironmentId, EnvironmentConfig]:
        """Every environment that is served."""
        return {name: held.config for name, held in self._held.items() if held.config is not None}
