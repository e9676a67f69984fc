"""Translates exceptions of libraries into our errors (spec/behaviour#containment)."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ff_proxy.aio.cancellation import CancellationCheck
from ff_proxy.errors import FfProxyError


@contextmanager
def border(ours: Callable[[Exception], FfProxyError]) -> Iterator[None]:
    """Raise ``ours(error)`` for any exception inside: libraries raise more than their own classes.

    Our own errors pass unchanged. A cancellation of the running task stays one, even if the library
    swallowed it or raised something else; a ``CancelledError`` without a cancellation (a library cancelled a
    task of its own) is translated like any other exception.
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
    except RuntimeError:  # no event loop is running
        return False


def described(error: BaseException) -> str:
    """A description of ``error`` that is never empty; libraries raise exceptions without a message."""
    if isinstance(error, BaseExceptionGroup):
        return described(error.exceptions[0])
    if isinstance(error, TimeoutError) and not str(error):
        return "no answer in time"
    return str(error) or type(error).__name__
