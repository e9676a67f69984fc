"""The event loop of production."""

import asyncio
from collections.abc import Coroutine
from typing import TypeVar

import uvloop

_Result = TypeVar("_Result")


def run(main: Coroutine[object, object, _Result]) -> _Result:
    """Run ``main`` to its end on uvloop."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)
