"""What is true in Harness: in two environments a flag that counts its changes, and one that vanishes."""

import random
from collections.abc import Callable
from typing import Final

from ff_proxy.model.environment import Domain
from ff_proxy.sandbox.running import RunningSandbox
from ff_proxy.sandbox.seed.build import flag, serve
from tests.support.sdk_like import DEV, PROD

TICK: Final = "tick"
COMET: Final = "comet"
ENVIRONMENTS: Final = (DEV, PROD)


class Truth:
    """Changes flags in Harness, and knows what they are now.

    Args:
        saas: where they are changed.
        publish: called after each change.

    Attributes:
        quiet: whether ``change`` changes nothing now.
    """

    def __init__(self, saas: RunningSandbox, publish: Callable[[], None]) -> None:
        self.quiet = False
        self._publish = publish
        self._state = saas.state
        self._numbers = dict.fromkeys(ENVIRONMENTS, 0)
        self._comets = dict.fromkeys(ENVIRONMENTS, 0)
        for environment in ENVIRONMENTS:
            self.tick(environment)

    def number(self, environment: str) -> int:
        """The present value of the flag that counts."""
        return self._numbers[environment]

    def numbers(self) -> dict[str, int]:
        """The present values of the flag that counts, by environment."""
        return dict(self._numbers)

    def comets(self, environment: str) -> int:
        """How often the flag that comes and goes has done so: it is there if that is odd."""
        return self._comets[environment]

    def version(self, environment: str) -> int:
        """The present version of the flag that counts."""
        return int(self._state.find(environment).item(Domain.FLAG, TICK)["version"])

    def tick(self, environment: str, *, announce: bool = True) -> int:
        """Change the flag that counts; returns its new value."""
        self._numbers[environment] += 1
        self._put(environment, TICK, str(self._numbers[environment]), announce=announce)
        self._publish()
        return self._numbers[environment]

    def change(self, chance: random.Random) -> None:
        """One change, as people make them: mostly of values, now and then a flag appears or is deleted."""
        if self.quiet:
            return
        environment = chance.choice(ENVIRONMENTS)
        if chance.random() < 0.8:
            self.tick(environment)
            return
        if self._comets[environment] % 2:
            self._state.drop(environment, Domain.FLAG, COMET)
        else:
            self._put(environment, COMET, "seen")
        self._comets[environment] += 1
        self._publish()

    def _put(self, environment: str, name: str, value: str, *, announce: bool = True) -> None:
        info = self._state.find(environment).info
        values = {"now": value, "never": "0"}
        document = flag(info, name, "string", values, off="never", default=serve("now"))
        self._state.put(info.id, Domain.FLAG, document, announce=announce)
