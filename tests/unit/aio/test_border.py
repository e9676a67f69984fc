"""A border lets nothing foreign through, and never swallows a cancellation."""

import asyncio
import sqlite3
import ssl
from contextlib import suppress

import httpx2
import pytest
import redis.exceptions
from hypothesis import given
from hypothesis import strategies as st

from ff_proxy.aio.border import border, described
from ff_proxy.errors import ConfigError, StoreUnavailable
from tests.support.foreign_errors import FOREIGN, made


@given(kind=st.sampled_from(FOREIGN))
def test_every_exception_of_a_library_is_translated(kind: type[BaseException]) -> None:
    """Of any class: the original is the cause, and the message is never empty."""
    error = made(kind)
    if error is None:
        return
    with pytest.raises(StoreUnavailable) as caught, border(lambda one: StoreUnavailable(described(one))):
        raise error
    assert caught.value.__cause__ is error
    assert str(caught.value)


def test_the_list_of_exceptions_includes_those_of_libraries() -> None:
    """The list above is worth something."""
    expected = {
        redis.exceptions.RedisClusterException,
        redis.exceptions.SlotNotCoveredError,
        sqlite3.OperationalError,
        ssl.SSLError,
        httpx2.ReadError,
        IndexError,
        asyncio.IncompleteReadError,
    }
    assert expected <= set(FOREIGN)
    assert sum(made(kind) is not None for kind in FOREIGN) > 100


def test_our_own_errors_pass() -> None:
    """Unchanged."""
    error = ConfigError("one problem")
    with pytest.raises(ConfigError) as caught, border(lambda _: StoreUnavailable("never")):
        raise error
    assert caught.value is error


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_exceptions_that_end_a_process_pass(kind: type[BaseException]) -> None:
    """They are not errors of a library."""
    with pytest.raises(kind), border(lambda _: StoreUnavailable("never")):
        raise kind


@pytest.mark.parametrize("error", [None, OSError("gone"), StoreUnavailable("ours"), asyncio.CancelledError()])
async def test_a_cancelled_task_stays_cancelled(error: BaseException | None) -> None:
    """Even if the library returns, or raises an error of its own or of ours."""
    asked = asyncio.Event()

    async def deaf() -> None:
        with border(lambda one: StoreUnavailable(str(one))):
            asked.set()
            with suppress(asyncio.CancelledError):
                await asyncio.get_running_loop().create_future()
            if error is not None:
                raise error

    task = asyncio.create_task(deaf())
    await asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancellation_without_a_request_is_an_error() -> None:
    """If a library cancels a task of its own, the caller must not count as cancelled."""

    async def call() -> None:
        inner = asyncio.ensure_future(asyncio.sleep(3600))
        asyncio.get_running_loop().call_soon(inner.cancel)
        with border(lambda one: StoreUnavailable(str(one))):
            await inner

    with pytest.raises(StoreUnavailable, match="cancelled by the library"):
        await asyncio.create_task(call())


async def test_a_timeout_around_a_border_is_a_timeout() -> None:
    """It works by cancellation, and must arrive as a timeout."""

    async def call() -> None:
        async with asyncio.timeout(0):
            with border(lambda one: StoreUnavailable(str(one))):
                await asyncio.sleep(3600)

    with pytest.raises(TimeoutError):
        await call()
