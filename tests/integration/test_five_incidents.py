"""As the person on call: each incident of docs/debugging.md is made, and its steps show what is promised."""

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from ff_proxy.model.keys import EnvironmentId
from ff_proxy.sandbox.running import RunningSandbox
from ff_proxy.sandbox.seed import default_environments
from tests.integration.harness import Proxy, online_options, sandbox
from tests.support.commands import as_flags, run
from tests.support.local_http import local_http
from tests.support.ports import free_port
from tests.support.redis_server import redis_command, redis_server
from tests.support.sdk_like import DEV, KEYS, SdkLike, eventually

PAGE: Final = Path(__file__).parents[2] / "docs/debugging.md"


def incidents() -> dict[str, list[tuple[str, list[str]]]]:
    """The page's table: for each incident its steps, where to look and what is to be found there."""
    section = PAGE.read_text(encoding="utf-8").partition("\n## Five incidents")[2].partition("\n## ")[0]
    found: dict[str, list[tuple[str, list[str]]]] = {}
    current = ""
    for row in section.partition("|---")[2].splitlines():
        if row.startswith("| "):
            name, where, says = (cell.strip() for cell in row.strip("|").split("|"))
            current = name or current
            found.setdefault(current, []).append((where, re.findall(r"`([^`]+)`", says)))
    return found


@dataclass
class OnCall:
    """A proxy in trouble, and everything that a person can look at."""

    saas: RunningSandbox
    proxy: Proxy
    admin: str

    async def look(self, where: str) -> str:
        """What is to be seen at a place that the page names."""
        environment = f"{self.admin}/environments/{DEV}"
        pages = {
            "overview": self.admin,
            "`/health/ready`": f"{self.proxy.url}/health/ready",
            "flag's page": f"{environment}/flags/dark_mode",
            "*Explain a target*": f"{environment}/target?flag=dark_mode&identifier=alice",
        }
        if where in pages:
            async with local_http() as http:
                return re.sub(r"<[^>]+>", "", (await http.get(pages[where])).text)
        if where.startswith("log"):
            return self.proxy.log.read_text(encoding="utf-8")
        command, *flags = re.findall(r"`ff-proxy ([^`]+)`", where)[0].split()
        if command == "explain":
            given = ["-url", self.proxy.url, "-flag", "dark_mode", "-target", "alice"]
            return (await run("explain", *given, API_KEYS=KEYS[DEV]))[1]
        return (await run(command, *flags, *as_flags(self.proxy._options)))[1]

    async def follow(self, incident: str) -> None:
        """Take every step; each must come to show what the page says."""
        for places, said in incidents()[incident]:
            assert said, places
            for where in places.split(", or "):
                await self._find(incident, where, said)

    async def _find(self, incident: str, where: str, said: Sequence[str]) -> None:
        text = ""

        async def shows() -> bool:
            nonlocal text
            text = await self.look(where)
            return all(phrase in text for phrase in said)

        try:
            await eventually(shows)
        except TimeoutError:
            pytest.fail(f"{incident}, {where}: {said} not in\n{text[-3000:]}")


@asynccontextmanager
async def on_call(folder: Path, through: "Middlebox | None" = None, **more: str) -> AsyncIterator[OnCall]:
    """A proxy in front of a sandbox, perhaps behind a middlebox, until the context is left."""
    admin = f"127.0.0.1:{free_port()}"
    async with AsyncExitStack() as stack:
        saas = await stack.enter_async_context(sandbox(*default_environments()))
        saas.state.settings.heartbeat_seconds = 0.5
        options = online_options(saas, [KEYS[DEV]])
        if through is not None:
            port = int(saas.url.rpartition(":")[2])
            await stack.enter_async_context(through.to(port))
            options = {name: text.replace(f":{port}/", f":{through.port}/") for name, text in options.items()}
        options |= {"admin-address": admin, "shutdown-delay": "0", "api-key-refresh-interval": "1"}
        options |= {name.replace("_", "-"): value for name, value in more.items()}
        proxy = await stack.enter_async_context(Proxy.running(options, folder / "proxy.log"))
        yield OnCall(saas, proxy, f"http://{admin}")


class Middlebox:
    """Passes everything on, but of a stream only what comes at once: the rest it keeps."""

    def __init__(self) -> None:
        self.port = free_port()
        self._to = 0
        self._connections: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def to(self, port: int) -> AsyncIterator[None]:
        """In front of that port until the context is left."""
        self._to = port
        async with await asyncio.start_server(self._accept, "127.0.0.1", self.port):
            yield
            for task in self._connections:
                task.cancel()
            await asyncio.gather(*self._connections, return_exceptions=True)

    def _accept(self, near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        self._connections.add(asyncio.create_task(self._pass_on(near, back)))

    async def _pass_on(self, near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        far, out = await asyncio.open_connection("127.0.0.1", self._to)
        streams = asyncio.Event()

        async def ask() -> None:
            while data := await near.read(65536):
                if b"/stream" in data.partition(b"\r\n")[0]:
                    streams.set()
                out.write(data)

        async def answer() -> None:
            while data := await far.read(65536):
                back.write(data)
                if streams.is_set() and b":\n\n" in data:
                    await asyncio.get_running_loop().create_future()

        both = [asyncio.create_task(ask()), asyncio.create_task(answer())]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in both:
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)
            for writer in (back, out):
                writer.close()
                with suppress(OSError):
                    await writer.wait_closed()


def test_every_incident_of_the_page_is_made_here() -> None:
    """And no other."""
    followed = re.findall(r'\.follow\("(.+)"\)', Path(__file__).read_text(encoding="utf-8"))
    assert sorted(followed) == sorted(incidents())


@pytest.mark.timeout(150)
async def test_harness_is_unreachable(tmp_path: Path) -> None:
    """SDKs are served as ever."""
    async with on_call(tmp_path) as here:
        here.saas.down()
        await here.follow("Harness is unreachable")
        async with SdkLike.connected(here.proxy.url, KEYS[DEV]) as client:
            assert (await client.get("/feature-configs")).status_code == 200
        await here.saas.up()


@pytest.mark.timeout(150)
async def test_a_key_was_revoked(tmp_path: Path) -> None:
    """By somebody at Harness; an SDK that has it is refused."""
    async with on_call(tmp_path) as here:
        here.saas.state.environments[EnvironmentId(DEV)].revoke(KEYS[DEV])
        async with local_http() as http:

            async def refused() -> bool:
                answer = await http.post(f"{here.proxy.url}/client/auth", json={"apiKey": KEYS[DEV]})
                return answer.status_code == 403

            await eventually(refused)
        await here.follow("A key was revoked")


@pytest.mark.timeout(150)
async def test_a_middlebox_holds_the_stream_back(tmp_path: Path) -> None:
    """Everything looks well, and a flip does not arrive; the doctor listens for what should come."""
    async with on_call(tmp_path, Middlebox()) as here:

        async def connected() -> bool:  # and so everything has been fetched
            return "upstream connected" in await here.look("log")

        await eventually(connected)
        here.saas.state.flip("development", "dark_mode")
        await here.follow("A middlebox holds the stream back")


@pytest.mark.timeout(150)
async def test_redis_is_full(tmp_path: Path) -> None:
    """As when somebody else's data has filled it."""
    with redis_server(tmp_path / "redis", ["--maxmemory-policy", "noeviction"]) as redis:
        async with on_call(tmp_path, redis_address=f"127.0.0.1:{redis.port}") as here:
            redis_command(redis.port, "CONFIG", "SET", "maxmemory", "1mb")
            here.saas.state.flip("development", "dark_mode")
            await here.follow("Redis is full")
            async with SdkLike.connected(here.proxy.url, KEYS[DEV]) as client:
                assert (await client.get("/feature-configs")).status_code == 200


async def test_a_flag_is_wrong_for_one_user(tmp_path: Path) -> None:
    """Whom somebody has named in it."""
    async with on_call(tmp_path) as here:
        async with SdkLike.connected(here.proxy.url, KEYS[DEV]) as client:
            assert await client.value("dark_mode", "alice") == "true"
            assert await client.value("dark_mode", "somebody") == "false"
        await here.follow("A flag is wrong for one user")
