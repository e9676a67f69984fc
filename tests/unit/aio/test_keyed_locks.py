"""Locks by key leave nothing behind."""

import asyncio

from ff_proxy.aio.keyed_locks import KeyedLocks


async def test_one_holder_per_key_and_no_lock_is_left() -> None:
    """Whether holders return, fail, or are cancelled while they wait."""
    locks: KeyedLocks[str] = KeyedLocks()
    inside: list[str] = []
    go_on = asyncio.Event()

    async def hold(key: str, name: str) -> None:
        async with locks.held(key):
            inside.append(name)
            await go_on.wait()
            if name == "fails":
                raise ValueError(name)

    tasks = [
        asyncio.create_task(hold(*which))
        for which in (("a", "one"), ("a", "gives up"), ("a", "fails"), ("b", "two"))
    ]
    await asyncio.sleep(0)
    assert (inside, len(locks)) == (["one", "two"], 2)
    tasks[1].cancel()
    go_on.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert (inside, len(locks)) == (["one", "two", "fails"], 0)
