"""Waits between tries."""

from itertools import islice
from random import Random

import pytest

from ff_proxy.errors import UpstreamUnavailable
from ff_proxy.model.backoff import CAP, Backoff, delays, jittered


@pytest.mark.parametrize("seed", range(20))
def test_first_is_short_then_doubling_then_capped(seed: int) -> None:
    """Each wait is between half of its ceiling and the ceiling."""
    got = list(islice(delays(Random(seed)), 12))
    ceilings = [1.0, 2.0, 4.0, 8.0, 16.0, *[CAP] * 7]
    assert all(ceiling / 2 <= wait < ceiling for wait, ceiling in zip(got, ceilings, strict=True))


def test_jitter_differs() -> None:
    """Two environments do not come back at the same moment."""
    assert next(delays(Random(1))) != next(delays(Random(2)))


def test_reset_starts_over() -> None:
    """After a success the next wait is short again."""
    backoff = Backoff(Random(0))
    for _ in range(8):
        backoff.next()
    backoff.reset()
    assert backoff.next() < 1


def test_what_saas_asks_for_is_the_least() -> None:
    """Retry-After is obeyed."""
    backoff = Backoff(Random(0))
    assert backoff.next(UpstreamUnavailable("busy", retry_after=7)) == 7
    assert backoff.next(UpstreamUnavailable("busy")) < 2


def test_jittered_interval_stays_near() -> None:
    """Give or take a tenth."""
    random = Random(3)
    assert all(54 <= jittered(random, 60) <= 66 for _ in range(100))
