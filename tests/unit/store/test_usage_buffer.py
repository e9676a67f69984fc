"""Merging within bounds."""

import gc
import tracemalloc

import pytest

from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.usage import UsageCount, UsageKey, UsageTarget, weight
from ff_proxy.store.usage_buffer import UsageBuffer

ENV = EnvironmentId("5b3ae4f2-46a4-4e0a-a2f6-24d8ff2f3a11")
OTHER = EnvironmentId("b1dc1c9f-5a3f-41d7-8a4e-0c8e2f9e3b22")


def usage(flag: str, number: int = 1, environment: EnvironmentId = ENV) -> UsageCount:
    """``number`` evaluations of ``flag``."""
    return UsageCount(UsageKey(environment, "FFMETRICS", (("featureIdentifier", f'"{flag}"'),)), number, 1)


def target(identifier: str, name: str = "n") -> UsageTarget:
    """A target as a server SDK reports it."""
    return UsageTarget(ENV, identifier, name, ())


def taken(
    buffer: UsageBuffer, limit: int, environment: EnvironmentId = ENV
) -> tuple[tuple[UsageCount, ...], tuple[UsageTarget, ...]]:
    """What is taken, and settled at once."""
    lease = buffer.take(environment, limit)
    if lease is None:
        return (), ()
    assert buffer.settle(lease)
    return lease.counts, lease.targets


def test_counts_add_up_and_the_newer_target_stays() -> None:
    """Equal keys meet, whichever post they came with."""
    buffer = UsageBuffer(10_000)
    buffer.add([usage("a"), usage("a", 2)], [target("x", "old")])
    buffer.add([usage("a", 4)], [target("x", "new")])
    assert buffer.pending() == {ENV: 2}
    assert taken(buffer, 10) == ((usage("a", 7),), (target("x", "new"),))


def test_a_lease_holds_one_environment_and_no_more_than_its_limit() -> None:
    """Until nothing waits any more."""
    buffer = UsageBuffer(10_000)
    buffer.add([usage("a"), usage("b"), usage("c"), usage("a", environment=OTHER)], [target("x")])
    assert buffer.waiting == {ENV, OTHER}
    assert taken(buffer, 2) == ((usage("a"), usage("b")), ())
    assert taken(buffer, 2) == ((usage("c"),), (target("x"),))
    assert buffer.waiting == {OTHER}
    assert taken(buffer, 2) == ((), ())
    assert taken(buffer, 2, OTHER) == ((usage("a", environment=OTHER),), ())
    assert buffer.spent == 0


def test_new_entries_beyond_the_budget_are_dropped_and_known_ones_still_merge() -> None:
    """The others are returned."""
    buffer = UsageBuffer(weight(usage("a")) + weight(target("x", "new")))
    assert len(buffer.add([usage("a")], [target("x")])) == 2
    added = buffer.add([usage("a"), usage("b")], [target("x", "new"), target("y")])
    assert (added.counts, added.targets) == ((usage("a"),), (target("x", "new"),))
    assert taken(buffer, 10)[0] == (usage("a", 2),)


def test_what_is_leased_has_its_room_until_it_is_settled() -> None:
    """In bytes, so large entries find no room long before small ones."""
    buffer = UsageBuffer(2 * weight(usage("a")))
    assert len(buffer.add([usage("a"), usage("b" * 1000)], [])) == 1
    lease = buffer.take(ENV, 10)
    assert lease is not None
    assert len(buffer.add([usage("b"), usage("c")], [])) == 1
    assert buffer.settle(lease)
    assert len(buffer.add([usage("c"), usage("d")], [])) == 1


def test_what_comes_back_keeps_the_newer_target() -> None:
    """What was said meanwhile counts; a second settlement does not."""
    buffer = UsageBuffer(10_000)
    buffer.add([usage("a", 2), usage("b")], [target("x", "old"), target("y")])
    lease = buffer.take(ENV, 10)
    assert lease is not None
    buffer.add([usage("a", 5)], [target("x", "new")])
    assert buffer.settle(lease, [usage("a", 2)], lease.targets)
    assert not buffer.settle(lease, lease.counts, lease.targets)
    assert taken(buffer, 10) == ((usage("a", 7),), (target("x", "new"), target("y")))
    assert buffer.spent == 0


@pytest.mark.parametrize("attributes", range(1, 4))
@pytest.mark.parametrize("targets", [False, True])
def test_entries_take_about_what_they_weigh(attributes: int, targets: bool) -> None:
    """Also the small ones, with what their keys remember."""
    buffer = UsageBuffer(1 << 30)
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(1000):
            pairs = tuple((f"key {one}", f'"{number}"') for one in range(attributes))
            name = f"name {number}"
            if targets:
                buffer.add([], [UsageTarget(ENV, name, name, pairs)])
            else:
                buffer.add([UsageCount(UsageKey(ENV, name, pairs), number, number)], [])
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before <= buffer.spent * 1.05
