"""The border to a library: whatever it raises becomes an error of ours (spec/behaviour#containment)."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ff_proxy.aio.cancellation import CancellationCheck
from ff_proxy.errors import FfProxyError


@contextmanager
def border(ours: Callable[[Exception], FfProxyError]) -> Iterator[None]:
    """Raise ``ours(error)`` for any error of a library inside: its own base class is not a promise.

    Errors of ours pass as they are. A cancellation of the running task stays one, even if the library
    missed it or raised something else instead; a ``CancelledError`` that nobody asked for (a library ended a
    task of its own) is an error like any other.
    """
    check = CancellationCheck()
    try:
        yield
    except asyncio.CancelledError as error:
        if check.cancelled() or not _in_task():
            raise
        raise ours(ConnectionAbortedError("the call was cancelled by the library")) from error
    except FfProxyError as error:
        check.raise_if_cancelled(error)
        raise
    except Exception as error:
        check.raise_if_cancelled(error)
        raise ours(error) from error
    check.raise_if_cancelled()


def _in_task() -> bool:
    try:
        return asyncio.current_task() is not None
    except RuntimeError:  # no loop runs
        return False


def described(error: BaseException) -> str:
    """``error`` in words, never empty: libraries raise errors without any."""
    if isinstance(error, BaseExceptionGroup):
        return described(error.exceptions[0])
    if isinstance(error, TimeoutError) and not str(error):
        return "no answer in time"
    return str(error) or type(error).__name__
