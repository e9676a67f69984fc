"""The lines of docs about doctor, explain and compare: whoever copies one finds that it works."""

import asyncio
import re
import shlex
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest

from ff_proxy.errors import ExitCode
from ff_proxy.sandbox.seed import default_environments
from ff_proxy.sandbox.server import serve
from ff_proxy.sandbox.state import SandboxState
from tests.support.commands import Command, run
from tests.support.ports import free_port

DOCS: Final = Path(__file__).parents[2] / "docs"
PAGES: Final = ("doctor.md", "explain.md", "migration.md")
KEY: Final = "sandbox-dev-server-key"


def lines_of(page: str) -> list[str]:
    """Its commands, without what they print."""
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(r"^ *(ff-proxy (?:doctor|explain|compare).*)$", text, re.MULTILINE)


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[tuple[Path, dict[str, str], int]]:
    """A directory with ``config`` in it, the environment of a proxy, and the port where one runs."""
    state = SandboxState(default_environments())
    state.settings.heartbeat_seconds = 0.1
    async with serve(state) as sandbox:
        environ = {
            "ACCOUNT_IDENTIFIER": "sandbox_account",
            "ORG_IDENTIFIER": "default",
            "ADMIN_SERVICE": sandbox.admin_url,
            "ADMIN_SERVICE_TOKEN": "sandbox-admin-token",
            "API_KEYS": f"{KEY},sandbox-prod-server-key",
            "CLIENT_SERVICE": sandbox.client_url,
            "METRIC_SERVICE": sandbox.client_url,
            "SDK_BASE_URL": sandbox.client_url,
            "ADMIN_ADDRESS": "off",
        }
        flags = ["-generate-offline-config", f"-config-dir={tmp_path / 'config'}"]
        code, said = await run(*flags, directory=tmp_path, seconds=20.0, fresh=True, **environ)
        assert code == ExitCode.OK, said
        environ["API_KEYS"] = KEY
        port = free_port()
        proxy = Command(f"-port={port}", directory=tmp_path, fresh=True, **environ)
        await proxy.start()
        try:
            await proxy.until("listening")
            yield tmp_path, environ, port
        finally:
            await proxy.kill()


async def test_every_line_works(place: tuple[Path, dict[str, str], int]) -> None:
    """In their order, against one proxy; what they show is what the page shows."""
    directory, environ, port = place
    shown: dict[str, str] = {}
    for page in PAGES:
        assert lines_of(page)
        for line in lines_of(page):
            words = shlex.split(re.sub(r"http://127\.0\.0\.1:\d+", f"http://127.0.0.1:{port}", line))[1:]
            more = {"PORT": str(port)} if words[0] == "doctor" else {}
            code, said = await run(*words, directory=directory, seconds=20.0, fresh=True, **environ, **more)
            assert code == ExitCode.OK, f"{line}\n{said}"
            shown[line] = said
    text = await asyncio.to_thread((DOCS / "explain.md").read_text, "utf-8")
    steps = next(said for line, said in shown.items() if "-config-dir" in line).splitlines()[2:]
    assert "\n".join(steps) in text
