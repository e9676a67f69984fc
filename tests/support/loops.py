"""Something that runs all the while a test calls in again and again, as Hypothesis does."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Self, TypeVar

import uvloop

_Result = TypeVar("_Result")


class Background:
    """An event loop that lives between calls, and something that runs on it all the while.

    ``errors`` collects what the loop was told of: an exception in a protocol never reaches a caller.
    """

    def __init__(self) -> None:
        self.errors: list[dict[str, Any]] = []
        self._runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self._over = asyncio.Event()
        self._served: list[asyncio.Task[None]] = []

    def __enter__(self) -> Self:
        self._runner.get_loop().set_exception_handler(lambda _, context: self.errors.append(context))
        return self

    def __exit__(self, *exc: object) -> None:
        self.call(self._end())
        self._runner.close()

    def serve(self, run: Callable[[asyncio.Event, asyncio.Event], Awaitable[None]]) -> None:
        """Start ``run(up, over)``: it sets the first when it is up and ends when the second is set."""
        self.call(self._start(run))

    def call(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        """The result of a coroutine."""
        return self._runner.run(work)

    async def _start(self, run: Callable[[asyncio.Event, asyncio.Event], Awaitable[None]]) -> None:
        up = asyncio.Event()

        async def serve() -> None:
            await run(up, self._over)

        self._served.append(asyncio.create_task(serve()))
        await up.wait()

    async def _end(self) -> None:
        self._over.set()
        await asyncio.gather(*self._served)
