"""Signals: everything is delivered, everybody is told, and the process is gone in time.

See spec/behaviour#shutdown.
"""

import asyncio
import os
import signal
import time
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest

from ff_proxy.sandbox.faults import Fault
from ff_proxy.sandbox.seed import default_environments
from tests.integration.harness import Proxy, online_options, sandbox
from tests.support.sdk_like import DEV, KEYS, SdkLike

CLIENTS = 40


async def test_sigterm_under_load_loses_nothing(tmp_path: Path) -> None:
    """A hundred streams, posts in flight: exit 0 in time, usage delivered, streams ended whole."""
    async with sandbox(*default_environments()) as saas:
        options = online_options(saas, KEYS.values()) | {"shutdown-delay": "1", "shutdown-deadline": "6"}
        proxy = Proxy(options, tmp_path / "log")
        await proxy.start()
        async with AsyncExitStack() as stack:
            stack.push_async_callback(proxy.kill)
            client = await stack.enter_async_context(SdkLike.connected(proxy.url, KEYS[DEV]))
            streams = [await stack.enter_async_context(client.stream()) for _ in range(100)]
            sent = 0
            posting = True

            async def post() -> None:
                nonlocal sent
                while posting:
                    answer = await client.post_usage("dark_mode", 1)
                    assert answer.status_code == 200
                    sent += 1

            posts = asyncio.create_task(post())
            await asyncio.sleep(0.3)
            begun = time.monotonic()
            assert proxy._process is not None
            proxy._process.send_signal(signal.SIGTERM)
            ends = [asyncio.create_task(_read_to_end(stream)) for stream in streams]
            await asyncio.sleep(0.5)
            posting = False
            await posts
            ended = await asyncio.gather(*ends)
            assert await proxy._process.wait() == 0
            took = time.monotonic() - begun
        assert took < 6.5
        assert all(last == b"" for last, _ in ended)
        moments = sorted(at for _, at in ended)
        assert moments[-1] - moments[0] > 0.4, "streams are to end one by one"
        assert sum(entry.count for entry in saas.usage.sums()) == sent
    assert "Traceback" not in proxy.last_words()


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_sdks_that_come_back_at_once_are_let_in_once(tmp_path: Path, workers: str) -> None:
    """Java and .NET do: nobody is let in just to be sent away, however often he tries (traps 14 and 52)."""
    async with sandbox(*default_environments()) as saas:
        options = online_options(saas, KEYS.values()) | {"shutdown-delay": "1", "workers": workers}
        proxy = Proxy(options, tmp_path / "log")
        await proxy.start()
        assert proxy._process is not None
        opened = 0
        all_open = asyncio.Event()

        async def come_back() -> None:
            nonlocal opened
            with suppress(OSError, EOFError):
                while True:
                    async with client.stream() as stream:
                        opened += 1
                        if opened == CLIENTS:
                            all_open.set()
                        await _read_to_end(stream)

        async with SdkLike.connected(proxy.url, KEYS[DEV]) as client:
            clients = [asyncio.create_task(come_back()) for _ in range(CLIENTS)]
            await all_open.wait()
            proxy._process.send_signal(signal.SIGTERM)
            assert await proxy._process.wait() == 0
            await asyncio.gather(*clients)
        # Once at first, once while others end, and with two workers once more where the other one is later.
        assert opened <= 3 * CLIENTS


async def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    """Whoever presses Ctrl-C twice does not want to wait, and a third one changes nothing."""
    async with sandbox(*default_environments()) as saas:
        options = online_options(saas, KEYS.values()) | {"shutdown-delay": "20", "shutdown-deadline": "30"}
        proxy = Proxy(options, tmp_path / "log")
        await proxy.start()
        assert proxy._process is not None
        async with SdkLike.connected(proxy.url, KEYS[DEV]) as client, client.stream():
            begun = time.monotonic()
            for _ in range(3):
                with suppress(ProcessLookupError):  # it has ended already
                    proxy._process.send_signal(signal.SIGINT)
                await asyncio.sleep(0.3)
            assert await proxy._process.wait() == 0
            assert time.monotonic() - begun < 15


async def test_nobody_connected_is_no_delay(tmp_path: Path) -> None:
    """There is nobody to whom it would be a service; signals that come while it ends are no failure."""
    async with sandbox(*default_environments()) as saas:
        options = online_options(saas, KEYS.values()) | {"shutdown-delay": "20", "shutdown-deadline": "30"}
        proxy = Proxy(options, tmp_path / "log")
        await proxy.start()
        assert proxy._process is not None
        begun = time.monotonic()
        while proxy._process.returncode is None and time.monotonic() - begun < 10:
            with suppress(ProcessLookupError):
                # Not by asyncio: it would reap the process before its own watcher does.
                os.kill(proxy._process.pid, signal.SIGINT)
            await asyncio.sleep(0.05)
        assert await proxy._process.wait() == 0


async def test_sigterm_while_saas_does_not_answer(tmp_path: Path) -> None:
    """A start that hangs can be ended."""
    async with sandbox(*default_environments()) as saas:
        saas.faults.add(Fault(connection="hang"))
        proxy = Proxy(online_options(saas, KEYS.values()) | {"shutdown-delay": "0"}, tmp_path / "log")
        starting = asyncio.create_task(proxy.start())
        await asyncio.sleep(1.5)
        begun = time.monotonic()
        assert proxy._process is not None
        proxy._process.send_signal(signal.SIGTERM)
        assert await proxy._process.wait() == 0
        assert time.monotonic() - begun < 10
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        saas.faults.clear()


async def _read_to_end(stream: object) -> tuple[bytes, float]:
    """The last chunk (empty: the terminating one) and when it came."""
    while True:
        record = await stream.record()  # type: ignore[attr-defined]  # a StreamClient
        if record == b"":
            return record, time.monotonic()
