"""``ff-proxy sandbox`` as a process: what it says, how it ends, how it is flipped."""

import asyncio
import contextlib
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest

COMMAND: Final = (sys.executable, "-m", "ff_proxy", "sandbox")
READY_WITHIN: Final = 20.0
ENDS_WITHIN: Final = 10.0


@dataclass
class Running:
    """A sandbox process, and what it said when it was ready."""

    process: asyncio.subprocess.Process
    said: dict[str, Any]

    async def end(self, number: signal.Signals) -> tuple[int, float]:
        """Exit code and seconds after a signal."""
        began = time.monotonic()
        self.process.send_signal(number)
        async with asyncio.timeout(READY_WITHIN):
            return await self.process.wait(), time.monotonic() - began


@contextlib.asynccontextmanager
async def running(*options: str) -> AsyncIterator[Running]:
    """A sandbox on a port that the system chose."""
    process = await asyncio.create_subprocess_exec(
        *COMMAND, "-port", "0", "-json", *options, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout
        async with asyncio.timeout(READY_WITHIN):
            line = await process.stdout.readline()
        yield Running(process, json.loads(line))
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A command that ends by itself."""
    return subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, timeout=READY_WITHIN, check=False
    )


async def test_the_line_for_programs_says_all_that_a_proxy_needs() -> None:
    """One line of JSON, once it answers."""
    async with running() as sandbox:
        said = sandbox.said
        assert said["ready"] is True
        async with httpx2.AsyncClient(trust_env=False) as http:
            listed = (await http.get(f"{said['url']}/sandbox/environments")).json()
            assert len(listed) == len(said["serverKeys"]) == 3
            answer = await http.post(
                f"{said['proxyOptions']['client-service']}/client/auth",
                json={"apiKey": said["proxyOptions"]["api-keys"].split(",")[0]},
            )
            assert answer.status_code == 200


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_it_ends_at_once_with_streams_open(number: signal.Signals) -> None:
    """Exit code 0, and the streams end as HTTP ends a response."""
    async with running() as sandbox, httpx2.AsyncClient(trust_env=False, timeout=5.0) as http:
        base, key = sandbox.said["clientUrl"], sandbox.said["serverKeys"][0]
        token = (await http.post(f"{base}/client/auth", json={"apiKey": key})).json()["authToken"]
        headers = {"Authorization": f"Bearer {token}", "API-Key": key}
        async with http.stream("GET", f"{base}/stream", headers=headers) as response:
            chunks = response.aiter_raw()
            assert await anext(chunks) == b":\n\n"
            code, seconds = await sandbox.end(number)
            assert await anext(chunks, None) is None
        assert code == 0
        assert seconds < ENDS_WITHIN


async def test_it_ends_at_once_with_requests_that_hang() -> None:
    """A fault keeps nobody from leaving."""
    async with running() as sandbox, httpx2.AsyncClient(trust_env=False, timeout=5.0) as http:
        for fault in ({"route": "auth", "connection": "hang"}, {"route": "stream", "delayMs": 60_000}):
            await http.post(f"{sandbox.said['url']}/sandbox/faults", json=fault)
        async with asyncio.TaskGroup() as group:
            for request in (
                http.post(f"{sandbox.said['url']}/client/auth", json={"apiKey": "x"}),
                http.get(f"{sandbox.said['url']}/stream"),
            ):
                group.create_task(_suppressed(request))
            await asyncio.sleep(0.2)
            code, seconds = await sandbox.end(signal.SIGTERM)
        assert code == 0
        assert seconds < ENDS_WITHIN


async def test_connections_can_be_broken() -> None:
    """On the loop of production as well: streams and requests end with RST."""
    async with running() as sandbox, httpx2.AsyncClient(trust_env=False, timeout=5.0) as http:
        base, key = sandbox.said["clientUrl"], sandbox.said["serverKeys"][0]
        token = (await http.post(f"{base}/client/auth", json={"apiKey": key})).json()["authToken"]
        headers = {"Authorization": f"Bearer {token}", "API-Key": key}
        async with http.stream("GET", f"{base}/stream", headers=headers) as response:
            chunks = response.aiter_raw()
            assert await anext(chunks) == b":\n\n"
            await http.post(f"{sandbox.said['url']}/sandbox/down", json={"how": "reset"})
            with pytest.raises(httpx2.ReadError):
                await anext(chunks)
        with pytest.raises(httpx2.ReadError):
            await http.post(f"{base}/client/auth", json={"apiKey": key})


async def test_a_flag_is_flipped_from_the_command_line() -> None:
    """And the outcome is said."""
    async with running() as sandbox:
        url = ("-url", sandbox.said["url"])
        toggled = await asyncio.to_thread(run, "flip", "dark_mode", *url)
        assert (toggled.returncode, toggled.stdout) == (0, "dark_mode in development is off (version 2)\n")
        served = await asyncio.to_thread(
            run, "flip", "checkout_flow", "-environment", "production", "-serve=express", *url
        )
        assert (
            served.stdout == "checkout_flow in production is on and serves express by default (version 2)\n"
        )
        on = await asyncio.to_thread(run, "flip", "dark_mode", "-on", *url)
        assert on.stdout == "dark_mode in development is on and serves false by default (version 3)\n"
        rollout = await asyncio.to_thread(run, "flip", "checkout_flow", "-on", *url)
        assert "serves by percentage by default" in rollout.stdout
        unknown = await asyncio.to_thread(run, "flip", "light_mode", *url)
        assert unknown.returncode == 1
        assert unknown.stderr.startswith("ff-proxy: flag 'light_mode' does not exist")


def test_flipping_without_a_sandbox_says_what_to_do() -> None:
    """Exit code 3."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        ended = run("flip", "dark_mode", "-url", f"http://127.0.0.1:{bound.getsockname()[1]}")
    assert ended.returncode == 3
    assert "ff-proxy sandbox" in ended.stderr


@pytest.mark.parametrize(
    "arguments", [["flip"], ["flip", "f", "-on", "-off"], ["flip", "f", "g"], ["-prot", "1"], ["-port", "x"]]
)
def test_a_command_line_that_cannot_be_meant_is_refused(arguments: list[str]) -> None:
    """Exit code 2."""
    ended = run(*arguments)
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr


def test_a_busy_port_is_an_exit_code_of_3() -> None:
    """With words instead of a traceback."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        bound.listen()
        ended = run("-port", str(bound.getsockname()[1]))
    assert ended.returncode == 3
    assert "try another -port" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("arguments", [["-h"], ["flip", "-help"]])
def test_help_is_given(arguments: list[str]) -> None:
    """Exit code 0."""
    ended = run(*arguments)
    assert ended.returncode == 0
    assert ended.stdout.startswith("ff-proxy sandbox")


async def test_an_offline_directory_is_served(tmp_path: Path) -> None:
    """Instead of the built-in environments."""
    directory = tmp_path / "env-id-1"
    directory.mkdir()
    flag = {
        "feature": "f",
        "environment": "qa",
        "project": "shop",
        "kind": "boolean",
        "state": "on",
        "variations": [{"identifier": "true", "value": "true"}, {"identifier": "false", "value": "false"}],
        "defaultServe": {"variation": "true"},
        "offVariation": "false",
    }
    (directory / "feature_config.json").write_text(json.dumps([flag]))
    async with running("-config-dir", str(tmp_path)) as sandbox:
        assert sandbox.said["serverKeys"] == ["sandbox-qa-server-key"]


def test_a_directory_that_is_not_there_is_an_exit_code_of_3(tmp_path: Path) -> None:
    """And names it."""
    ended = run("-config-dir", str(tmp_path / "nowhere"))
    assert ended.returncode == 3
    assert "nowhere" in ended.stderr


async def _suppressed(request: Any) -> None:
    with contextlib.suppress(httpx2.TransportError):
        await request
