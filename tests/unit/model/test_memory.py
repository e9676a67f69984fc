"""The memory budget, shared out."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from ff_proxy.model.memory import LEAST_BUDGET, shares_of


@given(st.integers(LEAST_BUDGET // 64, 2**50))
def test_the_shares_are_the_budget(budget: int) -> None:
    """Together no more than it, and nearly all of it; none is nothing."""
    shares = list(msgspec.structs.astuple(shares_of(budget)))
    assert min(shares) > budget // 200
    assert 0.99 * budget < sum(shares) <= budget
