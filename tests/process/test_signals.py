"""Signals of terminals and service managers: none of them loses anything (spec/behaviour#shutdown)."""

import asyncio
import json
import os
import shutil
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import httpx2
import pytest

from ff_proxy.sandbox.seed import default_environments
from tests.integration.harness import Proxy, online_options, sandbox
from tests.support.certificates import make_certificate
from tests.support.commands import Command
from tests.support.http import connected_to
from tests.support.local_http import local_http
from tests.support.ports import free_port
from tests.support.redis_server import redis_server
from tests.support.sdk_like import DEV, KEYS, SdkLike
from tests.support.web import message

HARMLESS = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
DROPPED = "log lines were dropped: the reader of standard output does not keep up"


def offline(directory: Path, *flags: str) -> Command:
    """An offline proxy with one empty environment."""
    (directory / "config" / "env-e1").mkdir(parents=True)
    options = (
        "-offline",
        f"-config-dir={directory / 'config'}",
        f"-port={free_port()}",
        "-admin-address=off",
    )
    return Command(*options, *flags, fresh=True)


@pytest.mark.parametrize("workers", [1, 2])
async def test_what_ends_other_programs_is_heard_by_every_process(tmp_path: Path, workers: int) -> None:
    """Certificates are read again, tasks are shown, and SIGQUIT is an orderly end."""
    certificate, key = make_certificate(tmp_path, days=100)
    tls = ("-tls-enabled", f"-tls-cert={certificate}", f"-tls-key={key}")
    command = offline(tmp_path, *tls, f"-workers={workers}")
    await command.start()
    for _ in range(workers):
        await command.until('"listening"')
    new = make_certificate(tmp_path, "other", days=100)
    shutil.copy(new[0], certificate)
    shutil.copy(new[1], key)
    command.signal(signal.SIGHUP)
    for _ in range(workers):
        await command.until('"TLS files read again"')
    command.signal(signal.SIGUSR1)
    everybody = workers + (workers > 1)
    for _ in range(everybody):
        await command.until('"event":"tasks"')
    command.signal(signal.SIGUSR2)
    command.signal(signal.SIGQUIT)
    assert await command.end() == 0
    processes = 1 if workers == 1 else workers + 1
    assert command.said.count('"event":"files are read again"') == processes


@pytest.mark.parametrize("number", [*HARMLESS, signal.SIGQUIT])
async def test_no_signal_loses_usage(tmp_path: Path, number: signal.Signals) -> None:
    """What was posted a moment before is delivered."""
    async with sandbox(*default_environments()) as saas:
        options = online_options(saas, KEYS.values()) | {"shutdown-delay": "0"}
        proxy = Proxy(options, tmp_path / "log", fresh=True)
        await proxy.start()
        assert proxy._process is not None
        try:
            async with SdkLike.connected(proxy.url, KEYS[DEV]) as client:
                for _ in range(3):
                    assert (await client.post_usage("dark_mode", 1)).status_code == 200
                proxy._process.send_signal(number)
                if number in HARMLESS:
                    assert (await client.post_usage("dark_mode", 1)).status_code == 200
                    proxy._process.send_signal(signal.SIGTERM)
            assert await proxy._process.wait() == 0
        finally:
            await proxy.kill()
        assert sum(entry.count for entry in saas.usage.sums()) == 3 + (number in HARMLESS)


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_signal_while_it_is_being_loaded_is_an_orderly_end(tmp_path: Path, workers: int) -> None:
    """At whatever moment it comes, once the interpreter has begun with our code."""
    (tmp_path / "config" / "env-e1").mkdir(parents=True)
    for milliseconds in range(0, 400, 80):
        # The first line comes from within the guarded part: the first thing that is imported there.
        script = (
            "import sys, importlib.abc\n"
            "class Tell(importlib.abc.MetaPathFinder):\n"
            "    def find_spec(self, name, *_):\n"
            "        if name == 'ff_proxy.cli':\n"
            "            print('begun', flush=True)\n"
            "sys.meta_path.insert(0, Tell())\n"
            "from ff_proxy.__main__ import main\n"
            "sys.exit(main())\n"
        )
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", script, "-offline", f"-config-dir={tmp_path / 'config'}"),
            *(f"-port={free_port()}", f"-workers={workers}", "-admin-address=off"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        assert await process.stdout.readline() == b"begun\n"
        await asyncio.sleep(milliseconds / 1000)
        process.send_signal(signal.SIGTERM)
        _, said = await process.communicate()
        assert (process.returncode, said) == (0, b"")


async def test_ctrl_c_ends_a_command_without_a_trace(tmp_path: Path) -> None:
    """Here while it waits for a file of options."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    # A shell lets what it runs in the background ignore Ctrl-C, and that is inherited.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "ff_proxy", "print-config", "-offline", f"-env-file={pipe}"),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
    finally:
        signal.signal(signal.SIGINT, before)
    writer = await asyncio.to_thread(os.open, pipe, os.O_WRONLY)  # once it is read
    process.send_signal(signal.SIGINT)
    _, said = await process.communicate()
    os.close(writer)
    assert (process.returncode, said) == (-signal.SIGINT, b"")


@pytest.mark.parametrize("read_at_last", [False, True])
@pytest.mark.parametrize("workers", [1, 2])
async def test_a_log_that_nobody_reads_holds_nothing_up(
    tmp_path: Path, workers: int, read_at_last: bool
) -> None:
    """Its pipe is full from the first line on: requests are answered, and a signal ends it in order.

    Lines that wait are not lost if somebody reads by then.
    """
    directory = tmp_path / "config" / "env-0c9e4b2a-54a5-4d3c-8d0f-5e1f2c3b4a59"
    directory.mkdir(parents=True)
    (directory / "auth_config.yaml").write_text("keys: [k]")
    (directory / "feature_config.json").write_text("[]")
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with suppress(BlockingIOError):
        while os.write(writing, b"x" * 4096):
            pass
    os.set_blocking(writing, True)
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ff_proxy", "-offline", f"-config-dir={tmp_path / 'config'}"),
        *("-host=127.0.0.1", f"-port={port}", f"-workers={workers}", "-admin-address=off", "-access-log=all"),
        stdout=writing,
        stderr=asyncio.subprocess.PIPE,
    )
    os.close(writing)
    try:
        async with asyncio.timeout(60):
            async with local_http(f"http://127.0.0.1:{port}") as client:
                while True:
                    with suppress(httpx2.TransportError):
                        if (await client.get("/health/ready")).status_code == 200:
                            break
                    await asyncio.sleep(0.05)
            async with connected_to(port) as wire:
                for _ in range(20):
                    await wire.send(message("GET", "/health") * 100)
                    for _ in range(100):
                        assert (await wire.response()).status == 200
            process.send_signal(signal.SIGTERM)
            lines = await asyncio.to_thread(_read_lines, reading) if read_at_last else []
            _, said = await process.communicate()
        assert (process.returncode, said) == (0, b"")
        if read_at_last:
            last = {line.get("process"): line["event"] for line in lines}
            assert len(last) == (1 if workers == 1 else workers + 2)
            assert set(last.values()) <= {"stopped", DROPPED}
    finally:
        os.close(reading)
        with suppress(ProcessLookupError):
            process.kill()


def _read_lines(reading: int) -> list[dict[str, str]]:
    """Everything until the last writer ends, without what filled the pipe at first."""
    found = bytearray()
    while more := os.read(reading, 4096):
        found += more
    return [json.loads(line) for line in found.lstrip(b"x").splitlines()]


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_redis_that_hangs_does_not_hold_up_the_end(tmp_path: Path, workers: int) -> None:
    """The deadline is one for everything, what services and libraries do in the end included."""
    deadline = 3.0
    with redis_server(tmp_path / "redis") as redis:
        async with sandbox(*default_environments()) as saas:
            options = online_options(saas, KEYS.values()) | {
                "redis-address": f"127.0.0.1:{redis.port}",
                "shutdown-delay": "0",
                "shutdown-deadline": f"{deadline:g}",
                "workers": str(workers),
            }
            proxy = Proxy(options, tmp_path / "log", fresh=True)
            await proxy.start()
            assert proxy._process is not None
            try:
                async with SdkLike.connected(proxy.url, KEYS[DEV]) as client:
                    redis.pause(on=True)
                    assert (await client.post_usage("dark_mode", 1)).status_code == 200
                    begun = time.monotonic()
                    proxy._process.send_signal(signal.SIGTERM)
                    assert await proxy._process.wait() == 0
                    assert time.monotonic() - begun < deadline + 5
            finally:
                redis.pause(on=False)
                await proxy.kill()
