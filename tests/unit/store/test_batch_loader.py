"""Many questions asked as one: shared, never older than the asker, and never left without an answer."""

import asyncio
from collections.abc import Sequence

import pytest

from ff_proxy.errors import StoreUnavailable
from ff_proxy.store.redis.batch_loader import BatchLoader


class Slow:
    """Answers when a test says so."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.go = asyncio.Semaphore(0)
        self.down = False

    async def __call__(self, asked: Sequence[str]) -> list[str]:
        self.asked.append(list(asked))
        await self.go.acquire()
        if self.down:
            raise StoreUnavailable("down")
        return [question.upper() for question in asked]


async def settled() -> None:
    """Everything has run that can."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_what_is_asked_meanwhile_is_the_next_batch() -> None:
    """Equal questions of one batch are asked once; one that came later does not share an older answer."""
    slow = Slow()
    questions = BatchLoader(slow, most=10, group=lambda _: "")
    async with asyncio.TaskGroup() as group:
        first = group.create_task(questions.get("a"))
        await settled()
        later = [group.create_task(questions.get(name)) for name in ("a", "b", "a")]
        await settled()
        assert slow.asked == [["a"]]
        slow.go.release()
        await settled()
        assert first.done()
        assert slow.asked == [["a"], ["a", "b"]]
        slow.go.release()
    assert [task.result() for task in (first, *later)] == ["A", "A", "B", "A"]


async def test_a_batch_is_bounded() -> None:
    """The rest comes in the next."""
    slow = Slow()
    questions = BatchLoader(slow, most=2, group=lambda _: "")
    for _ in range(3):
        slow.go.release()
    found = await asyncio.gather(*(questions.get(name) for name in "abcde"))
    assert found == list("ABCDE")
    assert [len(batch) for batch in slow.asked] == [2, 2, 1]


async def test_who_leaves_does_not_take_the_answer_along() -> None:
    """One of two that wait for the same answer is cancelled."""
    slow = Slow()
    questions = BatchLoader(slow, most=2, group=lambda _: "")
    async with asyncio.TaskGroup() as group:
        leaving = group.create_task(questions.get("a"))
        staying = group.create_task(questions.get("a"))
        await settled()
        leaving.cancel()
        await settled()
        slow.go.release()
    assert staying.result() == "A"


async def test_trouble_is_told_to_all_and_over_with_the_next_batch() -> None:
    """Each asker has an error of its own."""
    slow = Slow()
    slow.down = True
    questions = BatchLoader(slow, most=2, group=lambda _: "")
    slow.go.release()
    one, other = await asyncio.gather(questions.get("a"), questions.get("a"), return_exceptions=True)
    assert isinstance(one, StoreUnavailable)
    assert isinstance(other, StoreUnavailable)
    assert one is not other
    slow.down = False
    slow.go.release()
    assert await questions.get("a") == "A"


async def test_closing_leaves_nobody_waiting() -> None:
    """Neither who is being answered nor who is next."""
    questions = BatchLoader(Slow(), most=1, group=lambda _: "")
    waiting = [asyncio.create_task(questions.get(name)) for name in ("a", "b")]
    await settled()
    await questions.close()
    for task in waiting:
        with pytest.raises(StoreUnavailable, match="closed"):
            await task
