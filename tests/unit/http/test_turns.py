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


async def test_other_work_runs_between_turns() -> None:
    """A hundred waiting connections do not delay other callbacks of the event loop."""
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


async def test_a_connection_that_queues_again_goes_to_the_end() -> None:
    """Every connection gets a first turn before any gets a second one."""
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


async def test_a_failing_turn_does_not_affect_the_others() -> None:
    """The event loop reports the exception."""
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
