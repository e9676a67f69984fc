"""How many examples a property is tried with: few in every run, many where somebody asks for them."""

from hypothesis import settings


def examples(times: float) -> int:
    """So many times what the profile of this run takes by default, for ``settings(max_examples=…)``."""
    return round(settings().max_examples * times)
