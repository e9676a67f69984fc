"""The default environments of a sandbox: three, with every kind of flag and rule.

Their ids and keys are fixed, memorable and public.
"""

from ff_proxy.sandbox.environment import Environment
from ff_proxy.sandbox.seed.office import office
from ff_proxy.sandbox.seed.shop import shop

__all__ = ["default_environments"]


def default_environments() -> list[Environment]:
    """Development and production of an online shop, and the production of its back office."""
    return [shop("development"), shop("production"), office()]
