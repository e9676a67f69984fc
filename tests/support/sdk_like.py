"""A client that speaks as SDKs do, with nothing of an SDK's patience: for tests of processes and faults."""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, Self
from urllib.parse import urlsplit

import httpx2

from tests.support.looks import until_next_look
from tests.support.streams import StreamClient

DEV: Final = "11111111-1111-4111-8111-111111111111"
PROD: Final = "22222222-2222-4222-8222-222222222222"
OFFICE: Final = "33333333-3333-4333-8333-333333333333"
KEYS: Final = {
    DEV: "sandbox-dev-server-key",
    PROD: "sandbox-prod-server-key",
    OFFICE: "sandbox-office-server-key",
}


class SdkLike:
    """One authenticated client of a proxy at ``url``."""

    def __init__(self, url: str, key: str, *, keep_alive: bool = True) -> None:
        self.url = url
        self.key = key
        self.token = ""
        self.environment = ""
        limits = httpx2.Limits(max_keepalive_connections=None if keep_alive else 0)
        # No certificates are needed, and loading them takes longer than all the rest of a client.
        self.http = httpx2.AsyncClient(
            base_url=url, trust_env=False, timeout=10.0, limits=limits, verify=False
        )

    @classmethod
    @asynccontextmanager
    async def connected(cls, url: str, key: str, *, keep_alive: bool = True) -> AsyncIterator[Self]:
        """Authenticated, and closed in the end; without ``keep_alive`` each request has a connection."""
        client = cls(url, key, keep_alive=keep_alive)
        async with client.http:
            await client.authenticate()
            yield client

    async def authenticate(self, target: Mapping[str, object] | None = None) -> None:
        """Get a token; anything but 200 fails the test."""
        body: dict[str, object] = {"apiKey": self.key}
        if target is not None:
            body["target"] = target
        answer = await self.http.post("/client/auth", json=body)
        assert answer.status_code == 200, answer.text
        self.token = answer.json()["authToken"]
        self.environment = claims(self.token)["environment"]

    @property
    def headers(self) -> dict[str, str]:
        """What every request carries."""
        return {"Authorization": f"Bearer {self.token}"}

    async def get(self, path: str) -> httpx2.Response:
        """A GET below ``/client/env/{environment}``."""
        return await self.http.get(f"/client/env/{self.environment}{path}", headers=self.headers)

    async def value(self, flag: str, target: str = "somebody") -> Any:
        """The variation's text of one flag."""
        answer = await self.get(f"/target/{target}/evaluations/{flag}")
        assert answer.status_code == 200, answer.text
        return answer.json()["value"]

    async def post_usage(self, flag: str, count: int, **attributes: str) -> httpx2.Response:
        """Post one count."""
        names = {"featureIdentifier": flag, "variationIdentifier": "true", "target": "global", **attributes}
        entry = {
            "timestamp": 1_700_000_000_000,
            "count": count,
            "metricsType": "FFMETRICS",
            "attributes": [{"key": name, "value": value} for name, value in names.items()],
        }
        return await self.http.post(
            f"/metrics/{self.environment}", json={"metricsData": [entry]}, headers=self.headers
        )

    @asynccontextmanager
    async def stream(self, *, balanced: bool = False) -> AsyncIterator[StreamClient]:
        """An open stream, its first heartbeat read.

        Through a balancer (``balanced``) it may end before that, and several chunks may arrive as one.
        """
        reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(self.url).port)
        fields = {"Host": "x", "API-Key": self.key, **self.headers}
        lines = ["GET /stream HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
        writer.write("\r\n".join(lines).encode())
        async with StreamClient(reader, writer) as client:
            answer = await client.head()
            assert answer.startswith(b"HTTP/1.1 200 "), answer
            first = await client.record()
            assert first == b":\n\n" or (balanced and (first == b"" or first.startswith(b":\n\n"))), first
            yield client


def claims(token: str) -> dict[str, Any]:
    """A token's payload."""
    payload = token.split(".")[1]
    read: dict[str, Any] = json.loads(base64.b64decode(payload + "=" * (-len(payload) % 4)))
    return read


async def eventually(condition: Any, seconds: float = 30.0) -> None:
    """Wait until an async function of nothing answers true: for what another process does in its own time."""
    began = time.monotonic()
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110  (another process tells nobody)
            await asyncio.sleep(until_next_look(began))
