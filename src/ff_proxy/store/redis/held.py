"""The environments as a member serves them, whatever Redis has."""

from collections.abc import Mapping

import msgspec

from ff_proxy.model.environment import NEVER, EnvironmentConfig, Revision
from ff_proxy.model.keys import EnvironmentId


class Held(msgspec.Struct, frozen=True):
    """An environment as it is served.

    ``seen`` is the revision in Redis that it includes; it differs from its own after Redis went back.
    ``fence`` is the highest fencing number, and ``life`` the number of removals, as of ``seen``.
    """

    config: EnvironmentConfig | None = None
    seen: Revision = NEVER
    fence: int = 0
    life: int = 0

    def may_be_after(self, found: Revision) -> bool:
        """Whether ``found`` may be older than ``seen``, as after a failover that lost writes."""
        return found.epoch != self.seen.epoch or found.counter < self.seen.counter


_NOTHING = Held()


class HeldEnvironments(dict[EnvironmentId, Held]):
    """The newest state of each environment that was read or written here; an empty one for others."""

    def __missing__(self, _: EnvironmentId) -> Held:
        return _NOTHING

    def configs(self) -> Mapping[EnvironmentId, EnvironmentConfig]:
        """The served environments."""
        return {name: held.config for name, held in self.items() if held.config is not None}
