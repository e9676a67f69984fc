"""``ff-proxy demo``: what ``make demo`` shows to whoever has just cloned the project."""

import asyncio
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import httpx2
import pytest

from tests.support.local_http import local_http

COMMAND: Final = (sys.executable, "-m", "ff_proxy", "demo")
TOLD_WITHIN: Final = 60.0
SLOWEST_FLIP: Final = 2000.0  # milliseconds on a machine that does other things as well
URL: Final = re.compile(r"http://127\.0\.0\.1:\d+")

pytestmark = pytest.mark.timeout(120)


async def test_without_a_terminal_it_tells_its_story_once() -> None:
    """The value, the flip, the new value with the time it took; exit code 0."""
    told = await told_without_a_terminal()
    assert told.returncode == 0, told.stderr
    assert "dark_mode is false" in told.stdout
    flipped = re.search(r"dark_mode is true, (\d+\.\d) ms after the flip", told.stdout)
    assert flipped
    assert 0 < float(flipped[1]) < SLOWEST_FLIP
    assert told.stderr == ""
    await assert_gone(told.stdout)


async def test_at_a_terminal_its_suggestions_work_until_ctrl_c() -> None:
    """Every line is run as printed; the SDK's changes are told meanwhile; exit code 0, nothing is left."""
    async with at_a_terminal() as demo:
        text = await demo.until("Ctrl-C ends it")
        lines = [line.strip() for line in text.splitlines() if line.startswith("  ") and "curl" in line]
        assert len(lines) > 10
        await asyncio.to_thread(run_all, lines)
        assert "dark_mode is false" in await demo.until("dark_mode is true")
        demo.process.send_signal(signal.SIGINT)
        assert "Everything has been stopped." in await demo.until(None)
        assert await demo.process.wait() == 0
    await assert_gone(text)


async def test_ctrl_c_while_it_starts_leaves_nothing_behind() -> None:
    """However early."""
    async with at_a_terminal() as demo:
        text = await demo.until("Starting")
        demo.process.send_signal(signal.SIGINT)
        text += await demo.until(None)
        assert await demo.process.wait() == 0
        assert "Traceback" not in text


async def test_a_step_that_fails_is_told_and_is_no_success(tmp_path: Path) -> None:
    """With the end of the log of what failed: here an SDK that cannot be imported."""
    package = tmp_path / "featureflags"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('this SDK is broken')")
    told = await told_without_a_terminal(PYTHONPATH=str(tmp_path))
    assert told.returncode != 0
    assert "the application has ended" in told.stderr
    assert "this SDK is broken" in told.stderr
    await assert_gone(told.stdout)


async def told_without_a_terminal(**variables: str) -> subprocess.CompletedProcess[str]:
    """The demo run to its end, standard input not being a terminal."""
    return await asyncio.to_thread(
        subprocess.run,
        COMMAND,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TOLD_WITHIN,
        check=False,
        env={**os.environ, **variables},
    )


class AtATerminal:
    """The demo with a terminal for standard input, and what it says."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def until(self, text: str | None) -> str:
        """Everything that it says up to a line with ``text``, or to its end."""
        assert self.process.stdout
        heard = ""
        async with asyncio.timeout(TOLD_WITHIN):
            while line := (await self.process.stdout.readline()).decode():
                heard += line
                if text is not None and text in line:
                    return heard
        assert text is None, f"it ended before {text!r}:\n{heard}"
        return heard


@contextlib.asynccontextmanager
async def at_a_terminal() -> AsyncIterator[AtATerminal]:
    """The demo as a person runs it."""
    ours, its = os.openpty()
    try:
        process = await asyncio.create_subprocess_exec(
            *COMMAND, stdin=its, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        try:
            yield AtATerminal(process)
        finally:
            if process.returncode is None:
                process.terminate()
                await process.wait()
    finally:
        os.close(ours)
        os.close(its)


def run_all(lines: list[str]) -> None:
    """Run the suggestions one after the other, in one shell: one of them sets a variable."""
    bash, curl = shutil.which("bash"), shutil.which("curl")
    if bash is None or curl is None:
        pytest.skip("there is no bash or curl here")
    script = ["set -e", 'curl() { command curl --silent --fail-with-body --noproxy "*" "$@"; }']
    for line in lines:
        if "/stream" in line:
            # It would go on for a minute; 28 is how curl says that its time was up.
            short = re.sub(r"--max-time \d+", "--max-time 1", line)
            script.append(
                f'code=0; heard=$({short}) || code=$?; test "$code" = 28; test "${{heard:0:1}}" = ":"'
            )
        else:
            script.append(f"echo; {line}" if line.startswith("curl") else line)
        if "/sandbox/flip" in line:
            script.append("sleep 1  # as a person would, who looks at the other terminal")
    ended = subprocess.run(
        [bash, "-c", "\n".join(script)], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0, "\n".join([*script, ended.stdout, ended.stderr])


async def assert_gone(text: str) -> None:
    """Nothing answers any more at the addresses that were told."""
    async with local_http() as http:
        for url in set(URL.findall(text)):
            with pytest.raises(httpx2.ConnectError):
                await http.get(url)
