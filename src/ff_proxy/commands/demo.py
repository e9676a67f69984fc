"""``ff-proxy demo``: a sandbox, the proxy in front of it, a real SDK, and a flag that flips."""

import asyncio
import contextlib
import importlib.util
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TextIO

import httpx2

from ff_proxy.commands.child_process import PATIENCE, Child, child, ready_proxy
from ff_proxy.commands.command_line import NoOptions, read_options
from ff_proxy.errors import ExitCode, FfProxyError, StartupError

_FLAG: Final = "dark_mode"
_TARGET: Final = "visitor"
_SDK: Final = "featureflags"


@dataclass(frozen=True, slots=True)
class Stage:
    """What runs: the sandbox (as it described itself), the proxy, the application with the SDK."""

    sandbox: dict[str, Any]
    proxy_url: str
    sdk: Child
    http: httpx2.AsyncClient

    @property
    def key(self) -> str:
        """The SDK key in use."""
        key: str = self.sandbox["serverKeys"][0]
        return key


def demo(out: TextIO, *, interactive: bool) -> ExitCode:
    """Run the demo and describe it on ``out``; if ``interactive``, then report changes until Ctrl-C.

    Raises ``StartupError`` if something does not start, ``FfProxyError`` if a step fails.
    """
    if importlib.util.find_spec(_SDK) is None:
        raise StartupError(
            "the demo shows the Harness Python SDK, which is not installed here: "
            "pip install harness-featureflags, or use make demo"
        )
    return asyncio.run(_until_signal(out, interactive=interactive))


async def _until_signal(out: TextIO, *, interactive: bool) -> ExitCode:
    story = asyncio.create_task(_story(out, interactive=interactive))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, story.cancel)
    try:
        await story
    except asyncio.CancelledError:
        _tell(out, "", "Everything has been stopped.")
    return ExitCode.OK


async def _story(out: TextIO, *, interactive: bool) -> None:
    _tell(out, "Starting a sandbox (a small Harness), ff-proxy in front of it, and an application …")
    async with _stage() as stage:
        async with _patience("the SDK did not say a value"):
            value = (await stage.sdk.wait_for("value"))["value"]
        _tell(
            out,
            "",
            f"  sandbox   {stage.sandbox['url']}   plays Harness",
            f"  ff-proxy  {stage.proxy_url}   online, connected to the sandbox",
            "  SDK       the Harness Python SDK, connected to ff-proxy",
            "",
            f"The SDK says: {_FLAG} is {_shown(value)} for {_TARGET!r}",
        )
        flipped, milliseconds = await _flip(stage, not value)
        _tell(
            out,
            "Flipping it in the sandbox …",
            f"The SDK says: {_FLAG} is {_shown(flipped)}, {milliseconds:.1f} ms after the flip",
        )
        if interactive:
            _tell(out, "", *_suggestions(stage), "", "Ctrl-C ends it. Until then, the SDK's changes:")
            await _tell_changes(stage, out)
    _tell(out, "", "Everything has been stopped.")


@contextlib.asynccontextmanager
async def _stage() -> AsyncIterator[Stage]:
    async with contextlib.AsyncExitStack() as running:
        http = await running.enter_async_context(httpx2.AsyncClient(trust_env=False, timeout=PATIENCE))
        sandbox = await running.enter_async_context(
            child("the sandbox", ["-m", "ff_proxy", "sandbox", "-port=0", "-json"], speaks_json=True)
        )
        async with _patience("the sandbox did not become ready"):
            said = await sandbox.next_line()
        options = {**said["proxyOptions"], "admin-address": "off"}
        _, proxy_url = await running.enter_async_context(ready_proxy(options, _free_port()))
        sdk = await running.enter_async_context(
            child(
                "the application",
                ["-m", "ff_proxy.commands.demo_app", proxy_url, said["serverKeys"][0], _FLAG, _TARGET],
                speaks_json=True,
            )
        )
        yield Stage(said, proxy_url, sdk, http)


async def _flip(stage: Stage, value: bool) -> tuple[bool, float]:
    """Let the flag serve ``value``; returns what the SDK evaluates then, and after how many milliseconds."""
    async with _patience("the SDK did not connect to the stream"):
        await stage.sdk.wait_for("streaming")
    # The monotonic clock is the machine's: both processes read the same one.
    flipped = time.monotonic()
    answer = await stage.http.post(
        f"{stage.sandbox['url']}/sandbox/flip", json={"flag": _FLAG, "serve": str(value).lower()}
    )
    if answer.status_code != httpx2.codes.OK:
        raise FfProxyError(f"the sandbox did not flip the flag: {answer.text}")
    async with _patience("the SDK did not see the flip"):
        news = await stage.sdk.wait_for("value")
    if news["value"] != value:
        raise FfProxyError(f"the SDK says {news['value']} after the flip, not {value}")
    return news["value"], (news["at"] - flipped) * 1000


async def _tell_changes(stage: Stage, out: TextIO) -> None:
    while True:
        news = await stage.sdk.wait_for("value")
        _tell(out, f"The SDK says: {_FLAG} is {_shown(news['value'])}")


@contextlib.asynccontextmanager
async def _patience(failure: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(PATIENCE):
            yield
    except TimeoutError:
        raise FfProxyError(f"{failure} within {PATIENCE:.0f} s") from None


def _suggestions(stage: Stage) -> list[str]:
    sandbox, proxy = stage.sandbox["url"], stage.proxy_url
    environment = next(iter(stage.sandbox["environments"].values()))
    login = f'curl -s -X POST {proxy}/client/auth -d \'{{"apiKey": "{stage.key}"}}\''
    bearer = '-H "Authorization: Bearer $TOKEN"'
    return [
        "Flip it yourself, in another terminal:",
        f"""  curl -X POST {sandbox}/sandbox/flip -d '{{"flag": "{_FLAG}", "serve": "false"}}'""",
        f"""  curl -X POST {sandbox}/sandbox/flip -d '{{"flag": "{_FLAG}", "serve": "true"}}'""",
        "Take Harness away, and bring it back:",
        f"""  curl -X POST {sandbox}/sandbox/down -d '{{"how": "hang"}}'""",
        f"  curl -X POST {sandbox}/sandbox/up",
        "Ask ff-proxy as an SDK does:",
        f"  TOKEN=$({login} | cut -d '\"' -f 4)",
        f"  curl {bearer} {proxy}/client/env/{environment}/feature-configs/{_FLAG}",
        f"  curl {bearer} {proxy}/client/env/{environment}/target/alice/evaluations",
        f"""  curl -N --max-time 60 {bearer} -H "API-Key: {stage.key}" {proxy}/stream""",
        "See how ff-proxy is doing:",
        f"  curl {proxy}/health",
        f"  curl {proxy}/metrics",
        "See what reached Harness: requests, and (after a minute) how often flags were evaluated:",
        f"  curl {sandbox}/sandbox/requests",
        f"  curl {sandbox}/sandbox/usage",
    ]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _shown(value: object) -> str:
    return str(value).lower()


def _tell(out: TextIO, *lines: str) -> None:
    print(*lines, sep="\n", file=out, flush=True)


def run(argv: Sequence[str], _: Mapping[str, str], out: TextIO) -> ExitCode | None:
    """Run ``ff-proxy demo``, interactive if standard input is a terminal; ``None`` if help is requested."""
    if read_options(argv, NoOptions) is None:
        return None
    return demo(out, interactive=sys.stdin.isatty())
