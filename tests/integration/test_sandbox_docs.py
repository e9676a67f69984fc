"""The lines of docs/sandbox.md: whoever copies one finds that it works."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

from ff_proxy.sandbox.environment import Environment
from ff_proxy.sandbox.seed import default_environments
from tests.integration.test_sandbox_command import running

TEXT: Final = (Path(__file__).parents[2] / "docs" / "sandbox.md").read_text(encoding="utf-8")
CURLS: Final = re.findall(r"^curl .*$", TEXT, re.MULTILINE)
URL: Final = "http://127.0.0.1:7100"


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here")
async def test_every_curl_line_works() -> None:
    """In their order, against one sandbox."""
    assert len(CURLS) > 25
    async with running() as sandbox:
        for line in CURLS:
            command = shlex.split(line.replace(URL, sandbox.said["url"]))
            ended = subprocess.run(  # noqa: ASYNC221  (one after the other is what is tried)
                [*command, "--silent", "--show-error", "--fail-with-body", "--noproxy", "*"],
                capture_output=True,
                text=True,
                timeout=10,
                check=False,
            )
            assert ended.returncode == 0, f"{line}\n{ended.stdout}{ended.stderr}"


@pytest.mark.parametrize("environment", default_environments(), ids=lambda one: one.info.identifier)
def test_ids_and_keys_are_those_of_the_seed(environment: Environment) -> None:
    """Nobody can guess them."""
    row = f"| `{environment.info.identifier}` | `{environment.info.id}` | " + " | ".join(
        f"`{key.text}`" for key in environment.keys
    )
    assert row in TEXT
