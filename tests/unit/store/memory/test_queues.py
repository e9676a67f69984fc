"""What is special about the queues in memory: their bounds in bytes and in what they remember."""

from ff_proxy.bounded import entry_cost
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.target import Target
from ff_proxy.model.usage import UsageCount, UsageKey, UsageTarget, weight
from ff_proxy.store.memory.queues import MemoryRegistrations, MemoryUsageQueue
from ff_proxy.store.protocol import Registration

ENV = EnvironmentId("5b3ae4f2-46a4-4e0a-a2f6-24d8ff2f3a11")


def usage(flag: str) -> UsageCount:
    """One evaluation of ``flag``."""
    return UsageCount(UsageKey(ENV, "FFMETRICS", (("featureIdentifier", f'"{flag}"'),)), 1, 1)


async def test_large_entries_are_bounded_by_their_size() -> None:
    """A queue that has room for many entries may still have none for a big one."""
    queue = MemoryUsageQueue(2 * weight(usage("a")) + 10)
    assert await queue.merge([usage("a"), usage("b" * 1000), usage("c")], []) == 1
    lease = await queue.take(ENV, 10)
    assert lease is not None
    assert lease.counts == (usage("a"), usage("c"))


async def test_size_is_given_back() -> None:
    """What was acknowledged makes room, in bytes as well, and a target is never counted twice."""
    target = UsageTarget(ENV, "x", "x", ())
    queue = MemoryUsageQueue(weight(usage("a")) + weight(target))
    for _ in range(5):
        assert await queue.merge([usage("a")], [target, target]) == 0
        lease = await queue.take(ENV, 10)
        assert lease is not None
        await queue.settle(lease, lease.counts, lease.targets)
        lease = await queue.take(ENV, 10)
        assert lease is not None
        await queue.settle(lease)


async def test_what_was_sent_long_ago_is_forgotten_first() -> None:
    """A target that is seen again is remembered longer than one that is not."""
    one, two, three = (Registration(ENV, Target(name)) for name in ("one", "two", "six"))
    queue = MemoryRegistrations(4 * 2 * entry_cost((ENV, "one"), b"x" * 16))

    async def send(registration: Registration) -> None:
        await queue.add(registration)
        (taken,) = await queue.take(ENV, 1)
        await queue.complete(taken, delivered=True)

    await send(one)
    await send(two)
    await queue.add(one)
    await send(three)
    await queue.add(one)
    await queue.add(two)
    assert list(await queue.take(ENV, 5)) == [two]
