"""Runs a blocking call in a thread that does not delay the end of the process."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

_Result = TypeVar("_Result")


async def in_daemon_thread(call: Callable[[], _Result], name: str) -> _Result:
    """Run ``call`` in a new daemon thread and return or raise its result.

    A cancelled caller abandons the call; unlike with ``asyncio.to_thread``, it does not keep the event loop
    from closing. For calls into libraries that may hang on the network.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[_Result] = loop.create_future()

    def resolve(result: _Result | None, error: BaseException | None) -> None:
        if done.cancelled():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]  # set unless there is an error

    def run() -> None:
        result, error = None, None
        try:
            result = call()
        except BaseException as raised:  # noqa: BLE001  (raised where the call is awaited)
            error = raised
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(resolve, result, error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return await done
