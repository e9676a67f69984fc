"""One container with a budget in bytes: it never costs more, and what it says it costs is what it costs."""

import gc
import tracemalloc
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ff_proxy.bounded import BoundedMap, cost_of, entry_cost
from ff_proxy.model.target import Target

OPERATIONS = st.lists(
    st.tuples(st.sampled_from(["put", "offer", "get", "pop"]), st.integers(0, 9), st.integers(0, 60)),
    max_size=60,
)


def length(_: int, value: str) -> int:
    """An entry costs what its text is long."""
    return len(value)


def test_what_is_put_is_found() -> None:
    """By ``get``, and by the bare look-up."""
    cache: BoundedMap[str, int] = BoundedMap(10_000)
    cache.put("a", 1)
    assert (cache.get("a"), cache.peek("a"), cache.get("b"), cache.get("b", 7)) == (1, 1, None, 7)


@given(OPERATIONS)
def test_the_entries_cost_no_more_than_the_budget(operations: list[tuple[str, int, int]]) -> None:
    """Whatever is done in whatever order, and whatever had no room is counted."""
    gone: list[int] = []
    bounded: BoundedMap[int, str] = BoundedMap(100, length, gone.append)
    for what, key, size in operations:
        counted, before = sum(gone), len(bounded) - (key in bounded)
        if what == "put":
            kept = bounded.put(key, "x" * size)
            assert kept
            assert before + 1 == len(bounded) + sum(gone) - counted
        elif what == "offer":
            kept = bounded.offer(key, "x" * size)
            assert kept is (sum(gone) == counted)
        elif what == "get":
            bounded.get(key)
        else:
            bounded.pop(key)
            assert key not in bounded
        assert bounded.spent == sum(map(len, bounded.values())) <= 100


def test_what_was_used_last_stays_longest() -> None:
    """A look counts as use; the bare one does not."""
    cache: BoundedMap[int, str] = BoundedMap(30, length)
    for key in range(3):
        cache.put(key, "x" * 10)
    cache.get(0)
    cache.peek(1)
    cache.put(3, "x" * 10)
    assert list(cache) == [2, 0, 3]


def test_what_alone_is_too_much_is_not_kept() -> None:
    """Nor is what it was to take the place of: that is not the truth any more."""
    gone: list[int] = []
    cache: BoundedMap[int, str] = BoundedMap(10, length, gone.append)
    cache.put(1, "x")
    assert not cache.put(1, "x" * 11)
    assert (list(cache), gone) == ([], [1])


def test_a_queue_refuses_and_keeps_what_it_has() -> None:
    """An entry may take the place of its predecessor if the difference fits."""
    gone: list[int] = []
    queue: BoundedMap[int, str] = BoundedMap(10, length, gone.append)
    assert queue.offer(1, "x" * 6)
    assert not queue.offer(2, "x" * 5)
    assert queue.offer(1, "y" * 10)
    assert not queue.offer(1, "z" * 11)
    assert (list(queue.values()), gone) == (["y" * 10], [1, 1])


def test_the_unwanted_are_forgotten_and_give_their_room_back() -> None:
    """That is no drop: nobody lacked room."""
    gone: list[int] = []
    cache: BoundedMap[int, str] = BoundedMap(100, length, gone.append)
    for key in range(10):
        cache.put(key, "x" * 10 if key % 2 else "yy")
    cache.keep(lambda value: value == "yy")
    assert (list(cache), cache.spent, gone) == ([0, 2, 4, 6, 8], 10, [])
    cache.clear()
    assert (len(cache), cache.spent) == (0, 0)


@pytest.mark.parametrize("seed", range(6))
def test_an_entry_costs_about_what_it_says(seed: int) -> None:
    """Measured for many: never much more than estimated, whatever they are made of."""
    random = Random(seed)
    bounded: BoundedMap[str, Target] = BoundedMap(1 << 30)
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(300):
            name = f"target {number}"
            bounded.put(name, Target(name, attributes={"value": _made_up(random, 3)}))
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before <= bounded.spent * 1.05


def _made_up(random: Random, depth: int) -> object:
    match random.randrange(6 if depth else 4):
        case 0:
            return random.getrandbits(random.randrange(1, 200))
        case 1:
            return random.random()
        case 2:
            return "".join(random.choices("aé😀", k=random.randrange(200)))
        case 3:
            return random.choice((None, True, False))
        case 4:
            return [_made_up(random, depth - 1) for _ in range(random.randrange(8))]
        case _:
            return {
                f"key {n} {random.random()}": _made_up(random, depth - 1) for n in range(random.randrange(8))
            }


@pytest.mark.parametrize("value", [Target("a" * 1000), ("a" * 1000,), {"k": ["a" * 1000]}, {"a" * 1000: 1}])
def test_nothing_hides_in_a_record_or_a_container(value: object) -> None:
    """Fields, items, keys and values count."""
    assert 1000 < cost_of(value) < 1600
    assert entry_cost("k", value) > cost_of(value)


def test_what_comes_twice_counts_once_and_circles_end() -> None:
    """Sharing within an entry is free."""
    text = "".join(["a"] * 1000)
    circle: list[object] = [text]
    circle.append(circle)
    assert cost_of(circle) < 1300
