"""What a reload takes up is what every process does from then on, to open connections as well."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from itertools import count
from pathlib import Path
from typing import Final

import httpx2
import pytest

from ff_proxy.model.keys import EnvironmentId
from tests.support.certificates import make_certificate
from tests.support.local_http import local_http
from tests.support.reloaded_proxy import FORMS, ReloadedProxy, reloaded_proxy
from tests.support.sdk_like import DEV, eventually
from tests.support.workers import kill

CLIENTS: Final = 6
"""So many connections are hardly all of one worker."""
TRIES: Final = 16


@contextlib.asynccontextmanager
async def clients(here: ReloadedProxy) -> AsyncIterator[list[httpx2.AsyncClient]]:
    """Each has a connection of its own, which is open."""
    async with contextlib.AsyncExitStack() as stack:
        made = []
        for _ in range(CLIENTS):
            client = local_http(here.proxy.url, timeout=30.0)
            made.append(await stack.enter_async_context(client))
            assert (await client.get("/health/live")).status_code == 200
        yield made


async def each(some: list[httpx2.AsyncClient], does: Callable[[httpx2.AsyncClient], Awaitable[bool]]) -> None:
    """Wait until it is true for each of them."""
    for client in some:
        await eventually(lambda client=client: does(client), 60.0)


async def tried_key(client: httpx2.AsyncClient, fields: Mapping[str, str] | None = None) -> int:
    """The status for a key that nobody knows."""
    answer = await client.post("/client/auth", json={"apiKey": "no-such-key"}, headers=fields)
    return answer.status_code


@pytest.mark.parametrize("form", FORMS)
async def test_logs_limits_and_trust(tmp_path: Path, form: str) -> None:
    """One after the other, on the same connections, by the admin API."""
    async with reloaded_proxy(form, tmp_path, {}) as here, clients(here) as some:
        numbers = count()

        async def logged(client: httpx2.AsyncClient) -> bool:
            mark = f"mark-{next(numbers)}"
            await client.get("/health/live", headers={"X-Request-Id": mark})
            return any(line.get("request_id") == mark for line in here.lines())

        assert not await logged(some[0])
        assert (await here.reload({"access-log": "all"}))["changed"] == ["access-log"]
        await each(some, logged)

        async def limited(client: httpx2.AsyncClient) -> bool:
            return 429 in [await tried_key(client) for _ in range(30)]  # faster than they are allowed again

        await each(some, limited)
        await here.reload({"trusted-proxies": "127.0.0.0/8"})

        async def told_apart(client: httpx2.AsyncClient) -> bool:
            return await tried_key(client, {"X-Forwarded-For": f"192.0.2.{next(numbers) % 250}"}) == 403

        await each(some, told_apart)
        await here.reload({"auth-rate-limit": "off"})

        async def unlimited(client: httpx2.AsyncClient) -> bool:
            return [await tried_key(client) for _ in range(30)] == [403] * 30

        await each(some, unlimited)
        await here.reload({"max-body-size": "1 KiB", "cors-allowed-origins": "https://app.example"})

        async def too_large(client: httpx2.AsyncClient) -> bool:
            answer = await client.post("/client/auth", content=b" " * 3000)
            return answer.status_code == 413

        async def other_origin(client: httpx2.AsyncClient) -> bool:
            answer = await client.get("/health/live", headers={"Origin": "https://evil.example"})
            return "access-control-allow-origin" not in answer.headers

        await each(some, too_large)
        await each(some, other_origin)
        for change, shown in (
            ({"debug": "true"}, {"level": "DEBUG", "environments": {}}),
            ({"environment-log-level": "a=ERROR"}, {"level": "INFO", "environments": {"a": "ERROR"}}),
        ):
            assert (await here.reload(change))["problems"] == []
            assert (await here.admin("GET", "/api/log-level")).json() == shown
        reader, writer = await asyncio.open_connection("127.0.0.1", here.proxy.port)
        await here.reload({"idle-timeout": "1"})
        assert await reader.read() == b""  # until the proxy closes it
        writer.close()


@pytest.mark.parametrize("form", ["online 1", "online 2"])
async def test_a_rotated_service_token(tmp_path: Path, form: str) -> None:
    """The old one is refused; with the new one, the proxy learns of a key that was revoked meanwhile."""
    async with reloaded_proxy(form, tmp_path, {"api-key-refresh-interval": "1"}) as here:
        saas, client_key = here.saas.state, "sandbox-dev-client-key"
        body = {"apiKey": client_key}

        async def status() -> int:
            return (await here.http.post(f"{here.proxy.url}/client/auth", json=body)).status_code

        assert await status() == 200
        saas.admin_token = "rotated"

        async def refused() -> bool:
            return any("admin-service-token is not valid" in str(line) for line in here.lines())

        await eventually(refused)
        saas.environments[EnvironmentId(DEV)].revoke(client_key)
        answer = await here.reload({"admin-service-token": "rotated"})
        assert (answer["changed"], answer["restart"]) == (["admin-service-token"], [])

        async def revoked() -> bool:
            return await status() == 403

        await eventually(revoked)


@pytest.mark.parametrize("form", FORMS)
async def test_fewer_connections(tmp_path: Path, form: str) -> None:
    """Those that are open stay; new ones are refused."""
    async with reloaded_proxy(form, tmp_path, {}) as here, clients(here) as some:
        await here.reload({"max-connections": "2"})
        async with contextlib.AsyncExitStack() as more:

            async def refused() -> bool:
                client = local_http(here.proxy.url, timeout=30.0)
                await more.enter_async_context(client)
                return (await client.get("/client/env/x/feature-configs")).status_code == 503

            await eventually(refused)
        for client in some:
            assert (await client.get("/client/env/x/feature-configs")).status_code == 401


@pytest.mark.parametrize("form", FORMS)
async def test_tls_files(tmp_path: Path, form: str) -> None:
    """Other paths, by every worker and by those that are started later; bad ones change nothing at all."""
    first, second = (make_certificate(tmp_path, name) for name in ("first", "second"))

    def named(certificate: Path, key: Path) -> dict[str, str]:
        return {"tls-cert": str(certificate), "tls-key": str(key)}

    async with reloaded_proxy(form, tmp_path, {"tls-enabled": "true", **named(*first)}) as here:

        async def shows(certificate: Path) -> bool:
            place = ("127.0.0.1", here.proxy.port)
            seen = [await asyncio.to_thread(ssl.get_server_certificate, place) for _ in range(TRIES)]
            return set(seen) == {await asyncio.to_thread(certificate.read_text)}

        assert await shows(first[0])
        before = await here.http.get(f"{here.proxy.url}/health/live")
        assert before.status_code == 200
        told = await here.reload({**named(*second), "log-level": "DEBUG"})
        assert told == {"changed": ["log-level", "tls-cert", "tls-key"], "restart": [], "problems": []}
        await eventually(lambda: shows(second[0]))
        for path in first:
            path.unlink()
        if here.workers > 1:
            await kill(here.proxy, "worker-2")
            await here.proxy.until_ready()
            assert await shows(second[0])
        for bad, why in (
            (named(second[0], first[1]), f"tls-key: {first[1]}: No such file or directory"),
            (named(make_certificate(tmp_path, "third")[0], second[1]), "is not the key of"),
        ):
            told = await here.reload({**bad, "log-level": "ERROR"})
            assert (told["changed"], told["restart"]) == ([], [])
            assert why in told["problems"][0]
            assert (await here.admin("GET", "/api/log-level")).json()["level"] == "DEBUG"
            assert await shows(second[0])
