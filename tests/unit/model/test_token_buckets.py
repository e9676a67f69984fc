"""Rates by name."""

from hypothesis import given
from hypothesis import strategies as st

from ff_proxy.model.token_buckets import TokenBuckets
from tests.support.clock import FakeClock


class HandClock(FakeClock):
    """Goes on without anybody who sleeps."""

    def pass_by(self, seconds: float) -> None:
        self._now += seconds


def test_a_bucket_refills() -> None:
    """A burst at once, then as many as the rate allows; ``take`` returns the time to wait."""
    clock = HandClock()
    buckets = TokenBuckets(3, 0.5, clock, budget=100_000)
    assert [buckets.take("a") for _ in range(5)] == [0, 0, 0, 2, 2]
    assert (buckets.wait("a"), buckets.wait("b"), buckets.take("b")) == (2, 0, 0)
    clock.pass_by(2)
    assert [buckets.take("a") for _ in range(2)] == [0, 2]
    clock.pass_by(1000)
    assert [buckets.take("a") for _ in range(4)] == [0, 0, 0, 2]


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 10)), max_size=60),
    st.integers(1, 5),
    st.sampled_from([0.1, 1.0, 7.0]),
)
def test_no_name_exceeds_the_rate(steps: list[tuple[str, float]], burst: int, per_second: float) -> None:
    """In any time, a burst and what fills up; and whoever waits as long as told gets a token."""
    clock = HandClock()
    buckets = TokenBuckets(burst, per_second, clock, budget=100_000)
    taken = dict.fromkeys("abc", 0)
    for name, pause in steps:
        wait = buckets.take(name)
        taken[name] += wait == 0
        assert taken[name] <= burst + clock.monotonic() * per_second + 1e-6
        if wait:
            clock.pass_by(wait)
            assert buckets.take(name) == 0
            taken[name] += 1
        clock.pass_by(pause)


def test_names_beyond_the_budget_are_evicted() -> None:
    """The least recently used first; few are left of a thousand."""
    buckets = TokenBuckets(1, 0.001, HandClock(), budget=10_000)
    assert [buckets.take(f"name-{number}") for number in range(1000)] == [0] * 1000
    assert sum(buckets.wait(f"name-{number}") > 0 for number in range(1000)) < 100
    assert buckets.take("name-999") > 0
    assert buckets.take("name-0") == 0
