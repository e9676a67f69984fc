"""A client of the sandbox, as the tests of the sandbox need one."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, Final

import httpx2

from ff_proxy.sandbox.running import RunningSandbox
from ff_proxy.sandbox.seed import default_environments
from ff_proxy.sandbox.server import serve
from ff_proxy.sandbox.state import SandboxState
from tests.support.local_http import local_http

DEV: Final = "11111111-1111-4111-8111-111111111111"
PROD: Final = "22222222-2222-4222-8222-222222222222"
DEV_KEY: Final = "sandbox-dev-server-key"
PROD_KEY: Final = "sandbox-prod-server-key"
PATIENCE: Final = 5.0

Json = Any


class Client:
    """One HTTP client of one sandbox, which may authenticate and listen."""

    def __init__(self, sandbox: RunningSandbox, http: httpx2.AsyncClient) -> None:
        self.sandbox: Final = sandbox
        self.http: Final = http

    async def login(self, key: str = DEV_KEY) -> dict[str, str]:
        """The headers of an authenticated client."""
        answer = await self.http.post("/client/auth", json={"apiKey": key})
        assert answer.status_code == 200, answer.text
        return {"Authorization": f"Bearer {answer.json()['authToken']}", "API-Key": key}

    async def control(self, method: str, path: str, body: Json = None) -> Json:
        """A request to the control API that must succeed."""
        answer = await self.http.request(method, f"/sandbox{path}", json={} if body is None else body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    @contextlib.asynccontextmanager
    async def listening(self, key: str = DEV_KEY) -> AsyncIterator["Listening"]:
        """An open stream, its first heartbeat read."""
        headers = await self.login(key)
        async with self.http.stream("GET", "/stream", headers=headers) as response:
            listening = Listening(response)
            assert await listening.next() == b":\n\n"
            yield listening


class Listening:
    """The chunks of an open stream."""

    def __init__(self, response: httpx2.Response) -> None:
        self.response: Final = response
        self._chunks = response.aiter_raw()

    async def next(self) -> bytes | None:
        """The next chunk, ``None`` when the stream has ended as HTTP ends one."""
        async with asyncio.timeout(PATIENCE):
            return await anext(self._chunks, None)


@contextlib.asynccontextmanager
async def client() -> AsyncIterator[Client]:
    """A client of a sandbox with the built-in environments."""
    async with serve(SandboxState(default_environments())) as sandbox, connected(sandbox) as made:
        yield made


@contextlib.asynccontextmanager
async def connected(sandbox: RunningSandbox) -> AsyncIterator[Client]:
    """A client of that sandbox."""
    async with local_http(sandbox.url, timeout=PATIENCE) as http:
        yield Client(sandbox, http)
