"""Clients that send nonsense, too much, or too slowly: a clear answer, and everybody else is served."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from ff_proxy.sandbox.seed import default_environments
from tests.integration.harness import Proxy, online_options, sandbox
from tests.support.local_http import local_http
from tests.support.sdk_like import DEV, KEYS, PROD, SdkLike, eventually


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[SdkLike]:
    """Connected to a proxy whose log has no trace in the end."""
    async with sandbox(*default_environments()) as saas:
        options = online_options(saas, KEYS.values()) | {
            "shutdown-delay": "0",
            "max-body-size": "1048576",
            "max-connections": "300",
        }
        async with Proxy.running(options, tmp_path / "log") as proxy:
            async with SdkLike.connected(proxy.url, KEYS[DEV]) as connected:
                yield connected
        said = proxy.log.read_text()
        assert "Traceback" not in said
        assert connected.token not in said
        assert not any(key in said for key in KEYS.values())


async def test_bad_bodies(client: SdkLike) -> None:
    """400 with JSON that says what is wrong; nothing of the body comes back."""
    for body in (
        b"",
        b"{",
        b"[]",
        b'"x"',
        b"{}",
        b'{"apiKey": ""}',
        b'{"apiKey": 7}',
        b"\xff\xfe\x00",
        b"{" * 5000,
    ):
        answer = await client.http.post("/client/auth", content=body)
        assert answer.status_code == 400, body
        assert answer.headers["content-type"] == "application/json"
        said = answer.json()
        assert said["code"] == "400"
        assert said["message"]
    for body in (b"", b"{", b"nonsense", b'{"metricsData": [', b"\x00"):
        answer = await client.http.post(f"/metrics/{DEV}", content=body, headers=client.headers)
        assert answer.status_code == 400, body


async def test_bodies_beyond_the_limit(client: SdkLike) -> None:
    """Usage is read off and dropped with 200, since Node repeats a 413 for ever; others get a 413."""
    huge = b'{"metricsData": [' + b" " * 3_000_000 + b"]}"
    answer = await client.http.post(f"/metrics/{DEV}", content=huge, headers=client.headers)
    assert (answer.status_code, answer.content) == (200, b"{}")
    answer = await client.http.post("/client/auth", content=b'{"apiKey": "' + b"x" * 2_000_000 + b'"}')
    assert answer.status_code == 413
    metrics = (await client.http.get("/metrics")).text
    assert "ff_proxy_usage_dropped_total" in metrics


async def test_bad_tokens(client: SdkLike) -> None:
    """403 on flags, whose SDKs heal by that, 401 elsewhere and without any; streams refuse with nothing."""
    path = f"/client/env/{DEV}/feature-configs"
    head, payload, signature = client.token.split(".")
    unsigned = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').rstrip(b"=").decode()
    for token in (
        "x",
        "a.b.c",
        f"{head}.{payload}.",
        f"{unsigned}.{payload}.",
        f"{head}.{payload}.{signature[:-4]}AAAA",
        "é" * 3,
        "x" * 20_000,
    ):
        raw = [(b"authorization", b"Bearer " + token.encode("utf-8"))]
        answer = await client.http.get(path, headers=raw)
        assert answer.status_code == 403, token[:40]
        assert answer.json()["code"] == "403"
        evaluated = await client.http.get(f"/client/env/{DEV}/target/x/evaluations", headers=raw)
        assert evaluated.status_code == 401, token[:40]
        stream = await client.http.get("/stream", headers=[*raw, (b"api-key", KEYS[DEV].encode())])
        assert (stream.status_code, stream.content, stream.headers["content-length"]) == (401, b"", "0")
    assert (await client.http.get(path)).status_code == 401
    for other in (f"/client/env/{PROD}/feature-configs", f"/client/env/{PROD}/target/x/evaluations"):
        assert (await client.http.get(other, headers=client.headers)).status_code == 403
    wrong = await client.http.post(f"/metrics/{PROD}", json={}, headers=client.headers)
    assert wrong.status_code == 403
    foreign = await client.http.get("/stream", headers=client.headers | {"API-Key": KEYS[PROD]})
    assert (foreign.status_code, foreign.content) == (403, b"")
    missing = await client.http.get("/stream", headers=client.headers)
    assert (missing.status_code, missing.content) == (400, b"")


async def test_odd_paths_and_targets(client: SdkLike) -> None:
    """Undecodable text is literal; a header that cannot be read is ignored."""
    for target in ("a%2Fb", "a/b/c", "100%", "%zz", "a+b", "%F0%9F%98%80", "x" * 2000, "a;b=c", "%00"):
        answer = await client.get(f"/target/{target}/evaluations")
        assert answer.status_code == 200, target
        assert isinstance(answer.json(), list)
    big = base64.b64encode(
        json.dumps({"identifier": "ana", "attributes": {"x": "y" * 180_000}}).encode()
    ).decode()
    for header in ("!!!", "bm90IGpzb24=", "W10=", "bnVsbA==", "e30=", big):
        path = f"/client/env/{DEV}/target/ana/evaluations"
        answer = await client.http.get(path, headers=client.headers | {"Harness-Target": header})
        assert answer.status_code == 200, header[:20]


async def test_slow_and_idle_connections_do_not_matter(client: SdkLike) -> None:
    """Up to the limit they wait, beyond it newcomers are told to come back; others and probes are served."""
    port = urlsplit(client.url).port
    opened = []
    for number in range(280):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        if number % 2:
            writer.write(b"GET /client/env/x HTTP/1.1\r\nHost: half a he")
        opened.append((reader, writer))
    assert await client.value("dark_mode") in {"true", "false"}
    refused = 0
    for _ in range(60):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /client/env/x/feature-configs HTTP/1.1\r\nHost: x\r\n\r\n")
        opened.append((reader, writer))
        async with asyncio.timeout(5):
            status = await reader.readline()
        refused += b" 503 " in status
    assert refused > 0
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
    opened.append((reader, writer))
    assert b" 200 " in await reader.readline()
    assert await client.value("dark_mode") in {"true", "false"}
    for _, writer in opened:
        writer.close()

    async def admitted() -> bool:
        async with local_http(client.url) as fresh:
            return (await fresh.get("/client/env/x/feature-configs")).status_code == 401

    await eventually(admitted)
