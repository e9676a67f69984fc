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


class HeldEnvironments(dict[EnvironmentId, Held]):
    """The newest state of each environment that was read or written here; of others, nothing."""

    def __missing__(self, _: EnvironmentId) -> Held:
        return _NOTHING

    def configs(self) -> Mapping[EnvironmentId, EnvironmentConfig]:
        """Every environment that is served."""
        return {name: held.config for name, held in self.items() if held.config is not None}
