"""What a sandbox serves when it is given nothing: three environments with every kind of flag and rule.

Ids and keys are fixed, memorable and public. ``default_environments`` makes them anew at each call.
"""

from ff_proxy.sandbox.environment import Environment
from ff_proxy.sandbox.seed.office import office
from ff_proxy.sandbox.seed.shop import shop

__all__ = ["default_environments"]


def default_environments() -> list[Environment]:
    """Development and production of an online shop, and the production of its back office."""
    return [shop("development"), shop("production"), office()]
