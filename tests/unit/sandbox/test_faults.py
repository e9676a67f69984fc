"""Which request a fault hits."""

from typing import Any

import msgspec
import pytest

from ff_proxy.errors import RequestError
from ff_proxy.sandbox.faults import Fault, Faults, RouteName

DEV = frozenset({"id-1", "dev"})
NOBODY: frozenset[str] = frozenset()


def hits(faults: Faults, route: RouteName, times: int, environments: frozenset[str] = NOBODY) -> list[bool]:
    """Whether each of so many requests is hit."""
    return [faults.take(route, environments) is not None for _ in range(times)]


def test_without_faults_nothing_is_hit() -> None:
    """A sandbox behaves until told otherwise."""
    assert Faults().take(RouteName.AUTH, DEV) is None


def test_a_fault_hits_its_route_only() -> None:
    """Others keep answering."""
    faults = Faults()
    faults.add(Fault(route="auth", status=503))
    assert hits(faults, RouteName.AUTH, 2) == [True, True]
    assert hits(faults, RouteName.FLAGS, 1) == [False]


def test_a_star_hits_every_route() -> None:
    """As when the whole of SaaS fails."""
    faults = Faults()
    faults.add(Fault(status=500))
    assert all(faults.take(route, NOBODY) for route in RouteName)


def test_a_count_runs_out() -> None:
    """And what has run out is gone from the listing."""
    faults = Faults()
    faults.add(Fault(route="auth", status=503, count=2))
    assert hits(faults, RouteName.AUTH, 3) == [True, True, False]
    assert faults.listing() == []


def test_skipped_requests_pass_and_do_not_count() -> None:
    """The second page of a listing can be made to fail."""
    faults = Faults()
    faults.add(Fault(route="admin-keys", status=500, skip=1, count=1))
    assert hits(faults, RouteName.ADMIN_KEYS, 3) == [False, True, False]


@pytest.mark.parametrize("name", ["id-1", "dev"])
def test_an_environment_narrows_a_fault(name: str) -> None:
    """By id or by identifier."""
    faults = Faults()
    faults.add(Fault(route="flags", environment=name, status=500))
    assert hits(faults, RouteName.FLAGS, 1, frozenset({"id-2", "prod"})) == [False]
    assert hits(faults, RouteName.FLAGS, 1, DEV) == [True]


def test_the_first_matching_fault_wins() -> None:
    """A sequence of answers is a sequence of counted faults."""
    faults = Faults()
    faults.add(Fault(route="auth", status=401, count=1))
    faults.add(Fault(route="auth", status=503))
    statuses = [fault.status for _ in range(3) if (fault := faults.take(RouteName.AUTH, NOBODY))]
    assert statuses == [401, 503, 503]


def test_clearing_a_route_leaves_the_others() -> None:
    """Clearing all leaves none."""
    faults = Faults()
    faults.add(Fault(route="auth", status=401))
    faults.add(Fault(route="flags", status=401))
    faults.clear("auth")
    assert [fault.route for fault in faults.listing()] == ["flags"]
    faults.clear()
    assert faults.listing() == []


def test_the_listing_tells_what_is_left() -> None:
    """A test can wait until a fault has been met."""
    faults = Faults()
    faults.add(Fault(route="auth", status=401, skip=1, count=2))
    hits(faults, RouteName.AUTH, 2)
    assert faults.listing() == [Fault(route="auth", status=401, skip=0, count=1)]


@pytest.mark.parametrize(
    "wrong", [{"route": "nowhere"}, {"status": 99}, {"status": 600}, {"body": "error"}, {"count": -1}]
)
def test_a_fault_that_cannot_be_meant_is_refused(wrong: dict[str, Any]) -> None:
    """With 400, whether it comes from Python or from JSON."""
    with pytest.raises(RequestError) as refusal:
        Fault(**wrong)
    assert refusal.value.status == 400


def test_a_fault_is_read_from_json_by_camel_case_names() -> None:
    """And an unknown field is a mistake, not a fault that never strikes."""
    read = msgspec.json.decode(b'{"route": "auth", "delayMs": 5, "retryAfter": 2, "status": 503}', type=Fault)
    assert read == Fault(route="auth", delay_ms=5, retry_after=2, status=503)
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b'{"rout": "auth"}', type=Fault)
