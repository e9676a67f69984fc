"""Merging within bounds."""

from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.usage import UsageCount, UsageKey, UsageTarget, weight
from ff_proxy.usage.write_buffer import Batch, WriteBuffer

ENV = EnvironmentId("5b3ae4f2-46a4-4e0a-a2f6-24d8ff2f3a11")
OTHER = EnvironmentId("b1dc1c9f-5a3f-41d7-8a4e-0c8e2f9e3b22")


def usage(flag: str, number: int = 1, environment: EnvironmentId = ENV) -> UsageCount:
    """``number`` evaluations of ``flag``."""
    return UsageCount(UsageKey(environment, "FFMETRICS", (("featureIdentifier", f'"{flag}"'),)), number, 1)


def target(identifier: str, name: str = "n") -> UsageTarget:
    """A target as a server SDK reports it."""
    return UsageTarget(ENV, identifier, name, ())


def _named(counts: tuple[UsageCount, ...], targets: tuple[UsageTarget, ...], of: EnvironmentId) -> Batch:
    return Batch(counts, targets, of, name="any")


def _drained(buffer: WriteBuffer, size: int) -> list[Batch]:
    return [_named(batch.counts, batch.targets, batch.environment) for batch in buffer.drain(size)]


def test_counts_add_up_and_the_newer_target_stays() -> None:
    """Equal keys meet, whichever post they came with."""
    buffer = WriteBuffer(10_000)
    buffer.add([usage("a"), usage("a", 2)], [target("x", "old")])
    buffer.add([usage("a", 4)], [target("x", "new")])
    assert len(buffer) == 2
    assert _drained(buffer, 10) == [_named((usage("a", 7),), (), ENV), _named((), (target("x", "new"),), ENV)]


def test_a_batch_holds_one_environment_and_no_more_than_its_size() -> None:
    """Draining empties the buffer."""
    buffer = WriteBuffer(10_000)
    buffer.add([usage("a"), usage("b"), usage("c"), usage("a", environment=OTHER)], [])
    assert _drained(buffer, 2) == [
        _named((usage("a"), usage("b")), (), ENV),
        _named((usage("c"),), (), ENV),
        _named((usage("a", environment=OTHER),), (), OTHER),
    ]
    assert not _drained(buffer, 2)


def test_new_entries_beyond_the_capacity_are_dropped_and_known_ones_still_merge() -> None:
    """The number of dropped entries is told."""
    buffer = WriteBuffer(weight(usage("a")) + weight(target("x", "new")))
    assert buffer.add([usage("a")], [target("x")]) == 0
    assert buffer.add([usage("a"), usage("b")], [target("x", "new"), target("y")]) == 2
    assert _drained(buffer, 10)[0].counts == (usage("a", 2),)


def test_size_is_bounded_as_well_and_given_back_by_draining() -> None:
    """Large entries find no room long before the capacity is reached."""
    buffer = WriteBuffer(2 * weight(usage("a")))
    assert buffer.add([usage("a"), usage("b"), usage("c")], []) == 1
    _drained(buffer, 10)
    assert buffer.add([usage("a"), usage("b")], []) == 0


def test_putting_back_keeps_the_newer_target() -> None:
    """A failed flush must not overwrite what was said meanwhile."""
    buffer = WriteBuffer(10_000)
    buffer.add([usage("a", 5)], [target("x", "new")])
    assert buffer.put_back(_named((usage("a", 2),), (target("x", "old"), target("y")), ENV)) == 0
    counts, targets = _drained(buffer, 10)
    assert counts.counts == (usage("a", 7),)
    assert targets.targets == (target("x", "new"), target("y"))


def test_a_kept_batch_comes_again_as_it_was() -> None:
    """Under its name, apart from what was counted meanwhile, and within the budget."""
    buffer = WriteBuffer(2 * weight(usage("a")))
    buffer.add([usage("a", 5)], [])
    [batch] = buffer.drain(10)
    assert buffer.keep(batch) == 0
    assert buffer.add([usage("a"), usage("b")], []) == 1
    assert buffer.drain(10)[0] is batch
    assert WriteBuffer(weight(usage("a")) // 2).keep(batch) == 1
