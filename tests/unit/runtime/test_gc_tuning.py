"""What lives long is not visited again and again."""

import gc
import weakref
from collections.abc import Iterator
from contextlib import suppress

import pytest

from ff_proxy.runtime.gc_tuning import end_gc, tune_gc, without_gc
from tests.support.garbage import set_aside


class Circle:
    """Refers to itself: only the collector can free it."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True, scope="module")
def suite() -> Iterator[None]:
    """What the suite holds is put aside again afterwards."""
    yield
    set_aside()


@pytest.fixture(autouse=True)
def aside() -> int:
    """How many objects are put aside already: those of the suite, which passes would take long to visit."""
    gc.freeze()
    return gc.get_freeze_count()


def timer(*readings: float) -> Iterator[float]:
    """Readings of a timer, the last one for ever."""
    yield from readings
    while True:
        yield readings[-1]


def test_what_survives_a_long_pass_is_put_aside(aside: int) -> None:
    """And visited no more; outside of the context it is as before."""
    before = gc.get_threshold()
    kept = [[number] for number in range(1000)]
    with tune_gc(timer(0.0, 1.0).__next__):
        gc.collect()
        assert gc.get_freeze_count() > aside
        assert not any(held is kept for held in gc.get_objects())
    assert any(held is kept for held in gc.get_objects())
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0


def test_after_a_short_pass_everything_stays_in_sight(aside: int) -> None:
    """Circles that have become garbage later are still found."""
    with tune_gc(timer(0.0).__next__):
        circle = Circle()
        gone = weakref.ref(circle)
        gc.collect()
        assert gc.get_freeze_count() <= aside
        del circle
        gc.collect()
        assert gone() is None


def test_short_passes_are_not_timed(aside: int) -> None:
    """Those over the young generations put nothing aside."""
    with tune_gc(timer(0.0, 1.0).__next__):
        gc.collect(0)
        gc.collect(1)
        assert gc.get_freeze_count() <= aside


def test_what_was_put_aside_is_freed_when_nobody_refers_to_it() -> None:
    """The collector is not needed for that."""
    kept = Circle()
    kept.itself = None  # type: ignore[assignment]  # no circle any more
    gone = weakref.ref(kept)
    with tune_gc(timer(0.0, 1.0).__next__):
        gc.collect()
        del kept
        assert gone() is None


@pytest.mark.parametrize("enabled", [True, False])
def test_nothing_is_collected_while_modules_are_imported(*, enabled: bool) -> None:
    """Afterwards the collector is as it was, also when an import fails, and does not look at them."""
    if not enabled:
        gc.disable()
    try:
        with suppress(ImportError), without_gc():
            assert not gc.isenabled()
            module = [object()]
            raise ImportError
        assert gc.isenabled() is enabled
        assert not any(held is module for held in gc.get_objects())
    finally:
        gc.enable()


def test_at_the_end_nothing_is_visited() -> None:
    """What was there is freed with the process."""
    kept = [object()]
    end_gc()
    assert not any(held is kept for held in gc.get_objects())
