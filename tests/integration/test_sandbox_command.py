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

from tests.support.fork_server import ProxyProcess, start_proxy
from tests.support.local_http import local_http
from tests.support.ports import free_port

COMMAND: Final = (sys.executable, "-m", "ff_proxy", "sandbox")
READY_WITHIN: Final = 20.0
ENDS_WITHIN: Final = 10.0


@dataclass
class Running:
    """A sandbox process, and what it said when it was ready."""

    process: ProxyProcess
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
    flags = ("sandbox", "-port", "0", "-json", *options)
    process = await start_proxy(*flags, output=asyncio.subprocess.PIPE, environ={})
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
        async with local_http() as http:
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
    async with running() as sandbox, local_http(timeout=5.0) as http:
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
    async with running() as sandbox, local_http(timeout=5.0) as http:
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
    async with running() as sandbox, local_http(timeout=5.0) as http:
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


async def test_flags_are_listed_and_set_from_the_command_line() -> None:
    """For people, and for programs."""
    async with running() as sandbox:
        url = ("-url", sandbox.said["url"])
        was_set = await asyncio.to_thread(run, "set", "checkout_flow", "express", *url)
        said = "checkout_flow in development is on, and everyone gets express (version 2)\n"
        assert (was_set.returncode, was_set.stdout) == (0, said)
        listed = await asyncio.to_thread(run, "list", "-environment=development", *url)
        lines = [line.split() for line in listed.stdout.splitlines()]
        assert lines[0] == ["development"]
        assert [
            "checkout_flow",
            "on",
            "string:",
            "express",
            "(of",
            "classic,",
            "one_page,",
            "express)",
        ] in lines
        taken_back = await asyncio.to_thread(run, "set", "checkout_flow", "rules", "-json", *url)
        assert json.loads(taken_back.stdout)["everyone"] == ""
        every = json.loads((await asyncio.to_thread(run, "list", "-json", *url)).stdout)["environments"]
        assert set(every) == {"development", "production", "back_office"}
        refused = await asyncio.to_thread(run, "set", "checkout_flow", "nothing", *url)
        assert refused.returncode == 1
        assert "a variation: classic" in refused.stderr


async def test_its_page_has_a_switch_for_every_flag() -> None:
    """As a form, so that it works without JavaScript."""
    async with running() as sandbox, local_http(timeout=5.0) as http:
        url, environment = sandbox.said["url"], sandbox.said["environments"]["development"]
        page = (await http.get(url)).text
        assert page.count('role="switch"') == 20
        form = {"environment": environment, "flag": "dark_mode", "value": "true"}
        changed = await http.post(f"{url}/sandbox/page", data=form, follow_redirects=True)
        assert '<option value="true" selected>everyone: true' in changed.text
        assert (await http.post(f"{url}/sandbox/page", data={**form, "value": "?"})).status_code == 400


async def test_a_proxy_can_be_run_in_front_of_it() -> None:
    """It serves, says where, and ends with the sandbox."""
    port = free_port()
    async with running("-proxy", f"-proxy-port={port}") as sandbox:
        url = sandbox.said["proxyUrl"]
        assert url == f"http://127.0.0.1:{port}"
        async with local_http(timeout=5.0) as http:
            assert (await http.get(f"{url}/health/ready")).status_code == 200
            assert (await sandbox.end(signal.SIGTERM))[0] == 0
            with pytest.raises(httpx2.TransportError):
                await http.get(f"{url}/health/ready")


def test_a_proxy_that_cannot_start_is_an_exit_code_of_3() -> None:
    """Before anything is started."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        bound.listen()
        ended = run("-port=0", "-proxy", f"-proxy-port={bound.getsockname()[1]}")
    assert ended.returncode == 3
    assert "in use" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_flipping_without_a_sandbox_says_what_to_do() -> None:
    """Exit code 3."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        ended = run("flip", "dark_mode", "-url", f"http://127.0.0.1:{bound.getsockname()[1]}")
    assert ended.returncode == 3
    assert "ff-proxy sandbox" in ended.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["flip"],
        ["flip", "f", "-on", "-off"],
        ["flip", "f", "g"],
        ["-prot", "1"],
        ["-port", "x"],
        ["set", "f"],
        ["-proxy", "-proxy-port=0"],
    ],
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


@pytest.mark.parametrize("arguments", [["-h"], ["flip", "-help"], ["set", "-help"], ["list", "-h"]])
def test_help_is_given(arguments: list[str]) -> None:
    """Exit code 0."""
    ended = run(*arguments)
    assert ended.returncode == 0
    assert ended.stdout.startswith("ff-proxy sandbox")


async def test_an_offline_directory_is_served(tmp_path: Path) -> None:
    """Instead of the built-in environments, and its edits are followed."""
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
    async with running("-config-dir", str(tmp_path)) as sandbox, local_http() as http:
        assert sandbox.said["serverKeys"] == ["sandbox-qa-server-key"]
        base, key = sandbox.said["clientUrl"], sandbox.said["serverKeys"][0]
        token = (await http.post(f"{base}/client/auth", json={"apiKey": key})).json()["authToken"]
        headers = {"Authorization": f"Bearer {token}", "API-Key": key}
        async with asyncio.timeout(READY_WITHIN):
            async with http.stream("GET", f"{base}/stream", headers=headers) as response:
                chunks = response.aiter_raw()
                assert await anext(chunks) == b":\n\n"
                (directory / "feature_config.json").write_text(json.dumps([{**flag, "state": "off"}]))
                assert b'"patch"' in await anext(chunks)


def test_a_directory_that_is_not_there_is_an_exit_code_of_3(tmp_path: Path) -> None:
    """And names it."""
    ended = run("-config-dir", str(tmp_path / "nowhere"))
    assert ended.returncode == 3
    assert "nowhere" in ended.stderr


async def _suppressed(request: Any) -> None:
    with contextlib.suppress(httpx2.TransportError):
        await request
