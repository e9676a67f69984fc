"""What is true in Harness: in two environments a flag that counts its changes, and one that vanishes."""

import random
from typing import Final

from ff_proxy.model.environment import Domain
from ff_proxy.sandbox.seed.build import flag, serve
from ff_proxy.sandbox.server import RunningSandbox
from tests.support.sdk_like import DEV, PROD

TICK: Final = "tick"
COMET: Final = "comet"
ENVIRONMENTS: Final = (DEV, PROD)


class Truth:
    """Changes flags in Harness, and knows what they are now."""

    def __init__(self, saas: RunningSandbox) -> None:
        self._state = saas.state
        self._numbers = dict.fromkeys(ENVIRONMENTS, 0)
        self._comets = dict.fromkeys(ENVIRONMENTS, 0)
        for environment in ENVIRONMENTS:
            self.tick(environment)

    def number(self, environment: str) -> int:
        """The present value of the flag that counts."""
        return self._numbers[environment]

    def comets(self, environment: str) -> int:
        """How often the flag that comes and goes has done so: it is there if that is odd."""
        return self._comets[environment]

    def tick(self, environment: str) -> int:
        """Change the flag that counts; returns its new value."""
        self._numbers[environment] += 1
        self._put(environment, TICK, str(self._numbers[environment]))
        return self._numbers[environment]

    def change(self, chance: random.Random) -> None:
        """One change, as people make them: mostly of values, now and then a flag appears or is deleted."""
        environment = chance.choice(ENVIRONMENTS)
        if chance.random() < 0.8:
            self.tick(environment)
            return
        if self._comets[environment] % 2:
            self._state.drop(environment, Domain.FLAG, COMET)
        else:
            self._put(environment, COMET, "seen")
        self._comets[environment] += 1

    def _put(self, environment: str, name: str, value: str) -> None:
        info = self._state.find(environment).info
        values = {"now": value, "never": "0"}
        self._state.put(
            info.id, Domain.FLAG, flag(info, name, "string", values, off="never", default=serve("now"))
        )
