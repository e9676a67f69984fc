"""``ff-proxy doctor`` as people and programs run it: before the first start, and beside a proxy that runs."""

import asyncio
import json
import os
import pty
import sys
from pathlib import Path

from ff_proxy.errors import ExitCode
from ff_proxy.sandbox.running import RunningSandbox
from ff_proxy.sandbox.seed import default_environments
from ff_proxy.sandbox.server import serve
from ff_proxy.sandbox.state import SandboxState
from tests.support.commands import Command, as_flags, run
from tests.support.ports import free_port


def options(sandbox: RunningSandbox) -> dict[str, str]:
    """The options of a proxy in front of the sandbox."""
    return {
        "account-identifier": "sandbox_account",
        "org-identifier": "default",
        "admin-service": sandbox.admin_url,
        "admin-service-token": "sandbox-admin-token",
        "api-keys": "sandbox-dev-server-key",
        "client-service": sandbox.client_url,
        "metric-service": sandbox.client_url,
        "sdk-base-url": sandbox.client_url,
    }


async def test_before_the_first_start_and_beside_a_proxy(tmp_path: Path) -> None:
    """The data directory and the port are free, and then used by the proxy that runs; exit 0 both times."""
    port = free_port()
    state = SandboxState(default_environments())
    async with serve(state) as sandbox:
        state.settings.heartbeat_seconds = 0.1
        named = options(sandbox) | {
            "port": str(port),
            "data-dir": str(tmp_path / "data"),
            "admin-address": "off",
        }
        code, said = await run("doctor", "-json", *as_flags(named))
        before = json.loads(said)
        assert (code, before["ok"]) == (ExitCode.OK, True), said
        texts = {one["check"]: one["text"] for one in before["findings"]}
        assert texts["port"] == f"0.0.0.0:{port} is free"
        assert texts["data-dir"].endswith("does not exist yet and will be made")
        assert texts["key 1 of 1 (#343234)"] == "accepted, for development of project online_shop"
        assert texts["stream development"].startswith("first byte after 0.")
        assert "sandbox-dev-server-key" not in said
        assert "sandbox-admin-token" not in said
        proxy = Command(*as_flags(named))
        await proxy.start()
        try:
            await proxy.until("listening")
            code, said = await run("doctor", "-json", *as_flags(named))
        finally:
            await proxy.kill()
        beside = json.loads(said)
        assert (code, beside["ok"]) == (ExitCode.OK, True), said
        texts = {one["check"]: one["text"] for one in beside["findings"]}
        assert texts["port"] == f"the proxy that runs here listens on 0.0.0.0:{port}"
        listed = [one["text"] for one in beside["findings"] if one["check"] == "data-dir"]
        assert listed[0] == f"{tmp_path / 'data'} is in use by the proxy that runs here"


async def test_a_line_for_each_problem_and_exit_1() -> None:
    """With nothing set: what is missing is named, and nothing fails because of it."""
    code, said = await run(
        "doctor",
        "-client-service=http://127.0.0.1:1/x",
        "-sdk-base-url=http://127.0.0.1:1/x",
        "-metric-service=http://127.0.0.1:1/x",
        "-admin-service=http://127.0.0.1:1/x",
        f"-port={free_port()}",
    )
    assert code == ExitCode.CRASH
    *lines, summary = said.splitlines()
    problems = [line for line in lines if line.startswith("problem ")]
    assert len(problems) == 5
    assert "api-keys: required to connect to Harness" in said
    assert "Connection refused: nothing listens at http://127.0.0.1:1: check address and port" in problems[-1]
    assert "5 problems" in summary
    assert "\x1b" not in said


async def test_on_a_terminal_there_are_colours_and_what_is_waited_for() -> None:
    """Unless NO_COLOR is set."""

    async def shown(**environ: str) -> str:
        leader, follower = pty.openpty()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "ff_proxy", "doctor", "-offline", "-config-dir=/nonexistent", "-port=0"),
            stdin=follower,
            stdout=follower,
            stderr=follower,
            env={"PATH": os.environ["PATH"], "TERM": "xterm", "HOME": "/", **environ},
        )
        os.close(follower)
        said = b""
        try:
            while part := await asyncio.to_thread(os.read, leader, 65536):
                said += part
        except OSError:
            pass  # the other side of a terminal is gone
        finally:
            os.close(leader)
        assert await process.wait() == ExitCode.CRASH
        return said.decode()

    said = await shown()
    assert "\x1b[31mproblem \x1b[0m config-dir: " in said
    assert "checks done" in said
    assert "\x1b[31m" not in await shown(NO_COLOR="1")
