"""What has been ready stays ready."""

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from ff_proxy.api.health import StickyReadiness
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.readiness import Readiness

DEV = EnvironmentId("dev")
STATES = st.builds(
    Readiness,
    loaded=st.integers(0, 2),
    pending=st.lists(st.just("key a…: not tried yet"), max_size=2).map(tuple),
    degraded=st.lists(st.just("environment b: stream down"), max_size=2).map(tuple),
)


@dataclass
class Loaded:
    """What the process serves."""

    names: set[EnvironmentId] = field(default_factory=set)


def test_a_new_sync_process_does_not_withdraw_readiness() -> None:
    """Its keys are "not tried yet" for a moment: a worker becomes degraded, and serves the data it has."""
    state, loaded = Readiness(1), Loaded({DEV})
    readiness = StickyReadiness(lambda: state, loaded)
    assert readiness().ready
    state = Readiness(0, pending=("key a…: not tried yet",))
    assert (readiness().ready, readiness().degraded) == (True, state.pending)
    loaded.names.clear()
    assert not readiness().ready


@given(st.lists(STATES))
def test_readiness_is_never_withdrawn(states: list[Readiness]) -> None:
    """Unready until it is ready for the first time, then always ready; no reason is lost."""
    current = Readiness()
    readiness = StickyReadiness(lambda: current, Loaded({DEV}))
    was_ready = False
    for current in states:
        was_ready |= current.ready
        told = readiness()
        assert told.ready is was_ready
        assert {*told.pending, *told.degraded} == {*current.pending, *current.degraded}
