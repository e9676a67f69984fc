"""What every usage queue keeps to, whatever store it lives in."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.usage import UsageCount, UsageKey, UsageTarget
from ff_proxy.store.protocol import Store, UsageQueue

Stores = Callable[..., AbstractAsyncContextManager[Store]]

ENV = EnvironmentId("5b3ae4f2-46a4-4e0a-a2f6-24d8ff2f3a11")
OTHER = EnvironmentId("b1dc1c9f-5a3f-41d7-8a4e-0c8e2f9e3b22")

LONG = "x" * 10_000
ROOM = 12_000
"""Bytes that hold one entry with a ``LONG`` text in it and not two, however a store measures."""


def usage(flag: str, number: int = 1, *, environment: EnvironmentId = ENV, timestamp: int = 1) -> UsageCount:
    """``number`` evaluations of ``flag``."""
    key = UsageKey(environment, "FFMETRICS", (("featureIdentifier", f'"{flag}"'), ("target", "null")))
    return UsageCount(key, number, timestamp)


def target(identifier: str, name: str = "", *, environment: EnvironmentId = ENV) -> UsageTarget:
    """A target as a server SDK reports it."""
    return UsageTarget(environment, identifier, name, (("age", "7"),))


async def everything(queue: UsageQueue, environment: EnvironmentId = ENV) -> dict[str, int]:
    """Take and acknowledge all that waits: counts by flag."""
    found: dict[str, int] = {}
    while (lease := await queue.take(environment, 10)) is not None:
        for entry in lease.counts:
            flag = entry.key.attributes[0][1].strip('"')
            assert flag not in found
            found[flag] = entry.count
        await queue.settle(lease)
    return found


async def test_an_empty_queue_has_nothing_to_take(stores: Stores) -> None:
    """Nothing waits, so there is no lease."""
    async with stores() as store:
        assert await store.usage.pending() == {}
        assert await store.usage.take(ENV, 10) is None


async def test_equal_keys_add_up(stores: Stores) -> None:
    """Counts of one key become one entry with the latest timestamp, within a call and over calls."""
    async with stores() as store:
        assert await store.usage.merge([usage("a", 2, timestamp=5), usage("a", 3, timestamp=4)], []) == 0
        assert await store.usage.merge([usage("a", 10), usage("b", 1)], []) == 0

        lease = await store.usage.take(ENV, 10)

        assert lease is not None
        assert sorted(lease.counts, key=lambda entry: entry.count) == [
            usage("b", 1),
            usage("a", 15, timestamp=5),
        ]


async def test_the_newest_description_of_a_target_stays(stores: Stores) -> None:
    """A target is kept once per environment and identifier."""
    async with stores() as store:
        await store.usage.merge([], [target("x", "old"), target("x", "new")])
        await store.usage.merge([], [target("x", environment=OTHER)])

        lease = await store.usage.take(ENV, 10)

        assert lease is not None
        assert lease.targets == (target("x", "new"),)
        assert await store.usage.pending() == {ENV: 1, OTHER: 1}


async def test_entries_survive_as_they_were(stores: Stores) -> None:
    """Any JSON text and any character in a key or value comes back the same."""
    odd = UsageCount(
        UsageKey(
            ENV, "OTHER|TYPE", (("", '""'), ("a:b", '"\\u0000|é\U0001f600"'), ("a:b", '{"x":[1,null]}'))
        ),
        2**53 - 1,
        1_700_000_000_123,
    )
    described = UsageTarget(ENV, "ü/\x00", "n\n", (("k", '"v"'), ("k", "1.0")))
    async with stores() as store:
        await store.usage.merge([odd], [described])

        lease = await store.usage.take(ENV, 10)

        assert lease is not None
        assert (lease.environment, lease.counts, lease.targets) == (ENV, (odd,), (described,))


async def test_a_count_never_grows_beyond_what_json_readers_keep(stores: Stores) -> None:
    """The sum of two huge counts is the largest count there is."""
    async with stores() as store:
        await store.usage.merge([usage("a", 2**53 - 1)], [])
        await store.usage.merge([usage("a", 2**53 - 1)], [])
        assert await everything(store.usage) == {"a": 2**53 - 1}


async def test_take_gives_at_most_the_limit_and_no_entry_twice(stores: Stores) -> None:
    """Leases taken side by side share nothing and together hold everything."""
    async with stores() as store:
        await store.usage.merge([usage(f"f{n}") for n in range(5)], [target(f"t{n}") for n in range(2)])

        leases = []
        while (lease := await store.usage.take(ENV, 3)) is not None:
            leases.append(lease)

        assert [len(lease.counts) + len(lease.targets) for lease in leases] == [3, 3, 1]
        assert {entry.key for lease in leases for entry in lease.counts} == {
            usage(f"f{n}").key for n in range(5)
        }
        assert {entry.identifier for lease in leases for entry in lease.targets} == {"t0", "t1"}


async def test_leased_entries_are_pending_until_acknowledged(stores: Stores) -> None:
    """What is being sent has not arrived yet."""
    async with stores() as store:
        await store.usage.merge([usage("a"), usage("b")], [])
        lease = await store.usage.take(ENV, 1)
        assert lease is not None
        assert await store.usage.pending() == {ENV: 2}
        await store.usage.settle(lease)
        assert await store.usage.pending() == {ENV: 1}


async def test_a_released_lease_merges_back(stores: Stores) -> None:
    """Counts that came meanwhile add up with those that were not sent; nothing is lost or doubled."""
    async with stores() as store:
        await store.usage.merge([usage("a", 2), usage("b", 1)], [target("x", "old"), target("y", "kept")])
        lease = await store.usage.take(ENV, 10)
        assert lease is not None
        await store.usage.merge([usage("a", 5)], [target("x", "new")])

        await store.usage.settle(lease, lease.counts, lease.targets)

        again = await store.usage.take(ENV, 10)
        assert again is not None
        assert {entry.key: entry.count for entry in again.counts} == {usage("a").key: 7, usage("b").key: 1}
        assert set(again.targets) == {target("x", "new"), target("y", "kept")}
        assert await store.usage.take(ENV, 10) is None


async def test_of_a_lease_that_arrived_in_part_the_rest_comes_back(stores: Stores) -> None:
    """In one step: what arrived is gone, what came meanwhile adds up, and doing it again changes nothing."""
    async with stores() as store:
        await store.usage.merge(
            [usage("a", 2), usage("b", 1)], [target("x"), target("y", "old"), target("z")]
        )
        lease = await store.usage.take(ENV, 10)
        assert lease is not None
        await store.usage.merge([usage("a", 5), usage("b", 7)], [target("y", "new")])

        left = [entry for entry in lease.counts if entry.key == usage("b").key]
        described = [entry for entry in lease.targets if entry.identifier != "x"]
        await store.usage.settle(lease, left, described)
        await store.usage.settle(lease, left, described)

        again = await store.usage.take(ENV, 10)
        assert again is not None
        assert {entry.key: entry.count for entry in again.counts} == {usage("a").key: 5, usage("b").key: 8}
        assert set(again.targets) == {target("y", "new"), target("z")}
        await store.usage.settle(again)
        assert await store.usage.pending() == {}


async def test_settling_twice_changes_nothing(stores: Stores) -> None:
    """An acknowledged lease cannot come back, a released one is merged back once."""
    async with stores() as store:
        await store.usage.merge([usage("a", 2)], [])
        lease = await store.usage.take(ENV, 10)
        assert lease is not None
        await store.usage.settle(lease, lease.counts, lease.targets)
        await store.usage.settle(lease, lease.counts, lease.targets)
        await store.usage.settle(lease)
        assert await everything(store.usage) == {"a": 2}

        await store.usage.merge([usage("b", 1)], [])
        sent = await store.usage.take(ENV, 10)
        assert sent is not None
        await store.usage.settle(sent)
        await store.usage.settle(sent, sent.counts, sent.targets)
        assert await store.usage.pending() == {}


async def test_a_full_queue_drops_new_entries_and_says_how_many(stores: Stores) -> None:
    """What is known still adds up when there is no room for more."""
    a, b, c, d = (usage(LONG + flag) for flag in "abcd")
    async with stores(usage_queue=3 * ROOM) as store:
        assert await store.usage.merge([a, b], [target("x", LONG)]) == 0
        assert await store.usage.merge([a, c, d], [target("x", LONG), target("y", LONG)]) == 3
        assert await everything(store.usage) == {LONG + "a": 2, LONG + "b": 1}


async def test_leased_entries_take_room(stores: Stores) -> None:
    """A lease that comes back always fits, because nothing was let in in its place."""
    a, b, c = (usage(LONG + flag) for flag in "abc")
    async with stores(usage_queue=2 * ROOM) as store:
        await store.usage.merge([a, b], [])
        lease = await store.usage.take(ENV, 10)
        assert lease is not None
        assert await store.usage.merge([c], []) == 1
        await store.usage.settle(lease, lease.counts, lease.targets)
        assert await store.usage.merge([c], []) == 1
        assert await everything(store.usage) == {LONG + "a": 1, LONG + "b": 1}
        assert await store.usage.merge([c], []) == 0


async def test_what_comes_back_has_its_room_and_what_arrived_gives_it_up(stores: Stores) -> None:
    """Of a full queue, a lease that arrived in part."""
    a, b, c = (usage(LONG + flag) for flag in "abc")
    async with stores(usage_queue=2 * ROOM) as store:
        await store.usage.merge([a, b], [])
        lease = await store.usage.take(ENV, 10)
        assert lease is not None
        await store.usage.settle(lease, [b], [])
        assert await store.usage.merge([c, a], []) == 1
        assert await everything(store.usage) == {LONG + "b": 1, LONG + "c": 1}


async def test_room_is_given_back_however_entries_leave(stores: Stores) -> None:
    """Acknowledged, released, merged into others, described anew: again and again."""
    a, b = usage(LONG + "a"), usage(LONG + "b")
    async with stores(usage_queue=3 * ROOM) as store:
        for turn in range(12):
            assert await store.usage.merge([a, b], [target("x", LONG + str(turn))]) == 0
            lease = await store.usage.take(ENV, 10)
            assert lease is not None
            if turn % 3:
                await store.usage.settle(lease, lease.counts, lease.targets)
            else:
                await store.usage.settle(lease)
        lease = await store.usage.take(ENV, 10)
        assert lease is not None
        await store.usage.settle(lease)
        assert await store.usage.merge([a, b, usage(LONG + "c")], []) == 0


async def test_environments_do_not_meet(stores: Stores) -> None:
    """A take of one environment leaves the other's counts alone."""
    async with stores() as store:
        await store.usage.merge([usage("a", 1)], [])
        await store.usage.merge([usage("a", 2, environment=OTHER)], [])
        assert await everything(store.usage, ENV) == {"a": 1}
        assert await everything(store.usage, OTHER) == {"a": 2}
