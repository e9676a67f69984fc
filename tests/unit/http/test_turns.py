"""However many connections have much to ask, the loop sees to everybody else in between."""

import asyncio
import time
from collections import Counter

from ff_proxy.http.turns import Turns


def work(seconds: float) -> None:
    """Something that takes processor time."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


async def test_others_come_in_between() -> None:
    """A hundred that wait do not hold up what else the loop has to do."""
    turns, done = Turns(), 0
    seen: list[int] = []

    def take() -> None:
        nonlocal done
        done += 1
        work(0.002)

    for _ in range(100):
        turns.wait(take)
    while done < 100:
        await asyncio.sleep(0)
        seen.append(done)
    # A turn of all is 10 ms at least, so that the loop has turned between few of them.
    assert len(seen) >= 10


async def test_whoever_comes_again_is_behind_all_others() -> None:
    """Everybody has a first turn before anybody has a second one."""
    turns = Turns()
    order: list[int] = []
    counts: Counter[int] = Counter()

    def taker(number: int) -> None:
        def take() -> None:
            order.append(number)
            counts[number] += 1
            work(0.001)
            if counts[number] < 3:
                turns.wait(take)

        turns.wait(take)

    for number in range(40):
        taker(number)
    while len(order) < 120:  # noqa: ASYNC110  (turns of the loop are what is looked at)
        await asyncio.sleep(0)
    assert order == [*range(40)] * 3


async def test_one_that_fails_takes_no_turn_from_the_others() -> None:
    """The loop is told of it."""
    turns, taken = Turns(), 0
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["exception"]))

    def fail() -> None:
        raise ValueError("odd")

    def take() -> None:
        nonlocal taken
        taken += 1

    for one in (take, fail, take, fail, take):
        turns.wait(one)
    while taken < 3:  # noqa: ASYNC110  (see above)
        await asyncio.sleep(0)
    assert [str(error) for error in told] == ["odd", "odd"]
