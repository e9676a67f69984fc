"""A running proxy answers what its OpenAPI documents say, whatever is sent: asked by Schemathesis.

See spec/behaviour#openapi.
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import jsonschema_rs
import pytest

from ff_proxy.sandbox.running import RunningSandbox
from ff_proxy.sandbox.seed import default_environments
from tests.integration.harness import Proxy, online_options, sandbox
from tests.support.local_http import local_http
from tests.support.ports import free_port
from tests.support.sdk_like import DEV, KEYS, SdkLike

KEY: Final = KEYS[DEV]
EXAMPLES: Final = 8
"""For each operation, beside those at the bounds of every schema."""

SDK_PORT: Final = f"""
[parameters]
"path.env" = "{DEV}"

[checks]
# What SDKs send is taken as far as it can be understood (spec/sdk-wire#requests).
negative_data_rejection.enabled = false
# Preflights are answered alike for every path, so that they can be remembered (spec/sdk-wire#cors).
allow_header_conformance.enabled = false

[[operations]]
# A flag that asks for a target cannot be evaluated for nobody.
include-operation-id = "evaluateFlag"
checks.positive_data_acceptance.enabled = false
"""
ADMIN: Final = """
[checks]
# What a level, an environment or attributes may be is not in the schema.
positive_data_acceptance.enabled = false
# Two routes of one path.
allow_header_conformance.enabled = false
"""

pytestmark = pytest.mark.timeout(180)


@dataclass(frozen=True)
class Place:
    """A proxy with an admin address, in front of a sandbox, and a token of its."""

    saas: RunningSandbox
    url: str
    admin: str
    token: str

    async def document(self, path: str) -> dict[str, Any]:
        """An OpenAPI document as the admin address gives it."""
        async with local_http() as http:
            document: dict[str, Any] = (await http.get(self.admin + path)).raise_for_status().json()
        return document


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    """Started for each test."""
    admin = f"127.0.0.1:{free_port()}"
    async with sandbox(*default_environments()) as saas:
        options = online_options(saas, [KEY]) | {"admin-address": admin}
        async with Proxy.running(options, tmp_path / "proxy.log") as proxy:
            async with SdkLike.connected(proxy.url, KEY) as client:
                yield Place(saas, proxy.url, f"http://{admin}", client.token)


async def try_everything(
    document: Mapping[str, Any], url: str, settings: str, scratch: Path, *more: str
) -> None:
    """Have Schemathesis ask every operation; what it finds fails the test."""
    (scratch / "document.json").write_text(json.dumps(document))
    (scratch / "schemathesis.toml").write_text(settings)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", "schemathesis.toml"),
        *("run", "document.json", "--url", url, "--no-color", "--warnings", "off"),
        *("--phases", "examples,coverage,fuzzing", "--continue-on-failure", "--suppress-health-check", "all"),
        *("--max-examples", str(EXAMPLES), "--generation-deterministic"),
        *more,
        cwd=scratch,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")},
    )
    told, _ = await process.communicate()
    assert process.returncode == 0, told.decode()


async def test_the_sdk_port(place: Place, tmp_path: Path) -> None:
    """Streams are left out, which would not end: see below."""
    await try_everything(
        await place.document("/openapi.json"),
        place.url,
        SDK_PORT,
        tmp_path,
        *("--exclude-path", "/stream", "--exclude-path", "/ofrep/v1/events"),
        *("--header", f"Authorization: Bearer {place.token}", "--header", f"X-API-Key: {KEY}"),
    )


async def test_the_admin_api(place: Place, tmp_path: Path) -> None:
    """On loopback, where it asks for no token."""
    await try_everything(await place.document("/api/openapi.json"), place.admin, ADMIN, tmp_path)


async def test_streams(place: Place) -> None:
    """Their refusals, their heads, and the data of their events."""
    document = await place.document("/openapi.json")
    bearer = {"Authorization": f"Bearer {place.token}", "API-Key": KEY}
    async with local_http(place.url) as http:
        evaluated = await http.post("/ofrep/v1/evaluate/flags", headers={"X-API-Key": KEY})
        address = evaluated.json()["eventStreams"][0]["endpoint"]["requestUri"]
        streams: tuple[tuple[str, str, dict[str, str], str], ...] = (
            ("/stream", "/stream", bearer, "Change"),
            ("/ofrep/v1/events", address, {}, "RefetchEvaluation"),
        )
        for path, asked, headers, name in streams:
            responses = document["paths"][path]["get"]["responses"]
            refused = await http.get(path, headers={"API-Key": KEY})
            assert str(refused.status_code) in responses
            assert refused.content == b""
            async with http.stream("GET", asked, headers=headers) as stream:
                (media_type,) = responses[str(stream.status_code)]["content"]
                assert stream.headers["content-type"] == media_type
                place.saas.state.flip("development", "dark_mode", state="off")
                place.saas.state.flip("development", "dark_mode", state="on")
                async with asyncio.timeout(30):
                    data = await anext(
                        line.removeprefix("data: ")
                        async for line in stream.aiter_lines()
                        if line.startswith("data: ")
                    )
            schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
            jsonschema_rs.validate(schema, json.loads(data))
