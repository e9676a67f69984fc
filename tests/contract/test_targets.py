"""What every store promises about targets (store/protocol.py)."""

import pytest

from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.target import Target
from ff_proxy.store.protocol import UNKNOWN, Store
from tests.support.configs import ENVIRONMENT

OTHER = EnvironmentId("00000000-0000-4000-8000-000000000002")
ANA = Target("ana", "Ana", {"plan": "gold", "age": 31, "tags": ["a", None]}, anonymous=True)


async def test_a_target_is_read_back_whole(store: Store) -> None:
    """Attributes of every JSON type survive."""
    await store.targets.put(ENVIRONMENT, ANA)
    assert await store.targets.get(ENVIRONMENT, "ana") == ANA


async def test_targets_belong_to_their_environment(store: Store) -> None:
    """The same identifier elsewhere is somebody else."""
    await store.targets.put(ENVIRONMENT, ANA)
    assert await store.targets.get(OTHER, "ana") is None
    assert await store.targets.get(ENVIRONMENT, "bo") is None


async def test_the_newest_description_wins(store: Store) -> None:
    """A target is updated, its attributes too."""
    await store.targets.put(ENVIRONMENT, ANA)
    newer = Target("ana", "Ana Maria", {})
    await store.targets.put(ENVIRONMENT, newer)
    assert await store.targets.get(ENVIRONMENT, "ana") == newer


async def test_attributes_stay_where_asked(store: Store) -> None:
    """A target that says nothing of attributes keeps those it has (spec/behaviour#upward-queues)."""
    await store.targets.put(ENVIRONMENT, ANA)
    await store.targets.put(ENVIRONMENT, Target("ana", "Anna"), keep_attributes=True)
    held = await store.targets.get(ENVIRONMENT, "ana")
    assert held is not None
    assert held.name == "Anna"
    assert held.attributes == ANA.attributes
    await store.targets.put(ENVIRONMENT, Target("new", "New"), keep_attributes=True)
    assert await store.targets.get(ENVIRONMENT, "new") == Target("new", "New")


async def test_many_are_stored_and_others_stay(store: Store) -> None:
    """A poll adds to what SDKs told."""
    await store.targets.put(ENVIRONMENT, ANA)
    many = [Target(f"t{number}", f"T{number}", {"n": number}) for number in range(500)]
    await store.targets.put_many(ENVIRONMENT, many)
    assert await store.targets.get(ENVIRONMENT, "t499") == many[499]
    assert await store.targets.get(ENVIRONMENT, "ana") == ANA


async def test_every_target_of_an_environment_is_listed(store: Store) -> None:
    """And none of another one."""
    assert await store.targets.every(ENVIRONMENT) == []
    many = [ANA, *(Target(f"t{number}", f"T{number}", {"n": number}) for number in range(1500))]
    await store.targets.put_many(ENVIRONMENT, many)
    await store.targets.put(OTHER, Target("bo", "Bo"))
    await store.targets.put(ENVIRONMENT, Target("ana", "Ana Maria"), keep_attributes=True)
    found = {target.identifier: target for target in await store.targets.every(ENVIRONMENT)}
    assert found == {target.identifier: target for target in many} | {
        "ana": Target("ana", "Ana Maria", ANA.attributes)
    }


async def test_peek_knows_what_get_knows_or_says_so(store: Store) -> None:
    """A peek is the truth or no answer, and gives an unchanged target as the same object."""
    assert store.targets.peek(ENVIRONMENT, "ana") in {None, UNKNOWN}
    await store.targets.put(ENVIRONMENT, ANA)
    await store.targets.get(ENVIRONMENT, "ana")
    first = store.targets.peek(ENVIRONMENT, "ana")
    if first is not UNKNOWN:
        assert first == ANA
        await store.targets.put(ENVIRONMENT, Target("ana", "Ana", dict(ANA.attributes), anonymous=True))
        assert store.targets.peek(ENVIRONMENT, "ana") is first


async def test_odd_identifiers_are_identifiers(store: Store) -> None:
    """Nothing in an identifier means anything to a store."""
    for identifier in ("a/b?c#d%20", "{env}", "*", "ünïcødé 日本", "'; --", "a\x00b", "x" * 4000):
        await store.targets.put(ENVIRONMENT, Target(identifier, "n"))
        assert await store.targets.get(ENVIRONMENT, identifier) == Target(identifier, "n")


async def test_the_newest_description_counts_whenever_it_comes(store: Store) -> None:
    """A description that comes late does not take the place of a newer one; one that is newer does."""
    targets = store.targets
    await targets.put(ENVIRONMENT, Target("t", "second"), described_at=2000)
    await targets.put(ENVIRONMENT, Target("t", "first"), described_at=1000)
    assert await targets.get(ENVIRONMENT, "t") == Target("t", "second")
    await targets.put(ENVIRONMENT, Target("t", "third", {"a": 1}), described_at=3000)
    assert await targets.get(ENVIRONMENT, "t") == Target("t", "third", {"a": 1})
    await targets.put(ENVIRONMENT, Target("t", "fourth"), keep_attributes=True, described_at=4000)
    assert await targets.get(ENVIRONMENT, "t") == Target("t", "fourth", {"a": 1})
    await targets.put(ENVIRONMENT, Target("t", "late"), keep_attributes=True, described_at=1)
    assert await targets.get(ENVIRONMENT, "t") == Target("t", "fourth", {"a": 1})


async def test_what_is_put_now_is_the_newest_whatever_clocks_say(store: Store) -> None:
    """The clock of another member may have been ahead."""
    far = 4_000_000_000_000_000
    await store.targets.put(ENVIRONMENT, Target("t", "ahead"), described_at=far)
    await store.targets.put(ENVIRONMENT, Target("t", "now"))
    assert await store.targets.get(ENVIRONMENT, "t") == Target("t", "now")
    await store.targets.put(ENVIRONMENT, Target("t", "ahead"), described_at=far)
    assert await store.targets.get(ENVIRONMENT, "t") == Target("t", "now")


async def test_of_the_same_time_one_description_counts_in_whatever_order_they_come(store: Store) -> None:
    """Or members would never agree."""
    one, other = Target("t", "A"), Target("t", "B")
    targets = store.targets
    await targets.put(ENVIRONMENT, one, described_at=5)
    await store.targets.put(ENVIRONMENT, other, described_at=5)
    first = await store.targets.get(ENVIRONMENT, "t")
    await store.targets.put(OTHER, other, described_at=5)
    await store.targets.put(OTHER, one, described_at=5)
    assert await store.targets.get(OTHER, "t") == first


@pytest.mark.parametrize(("before", "after"), [(1, True), (1, 1.0), (0, -0.0), ([1], [True])])
async def test_values_that_python_takes_for_equal_are_not(
    store: Store, before: object, after: object
) -> None:
    """A rule tells ``1`` from ``true``."""
    await store.targets.put(ENVIRONMENT, Target("t", "", {"a": before}))
    await store.targets.put(ENVIRONMENT, Target("t", "", {"a": after}))
    got = await store.targets.get(ENVIRONMENT, "t")
    assert got is not None
    assert repr(got.attributes["a"]) == repr(after)
