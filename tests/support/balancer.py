"""The shipped configuration of HAProxy, before the members of a fleet on loopback."""

import asyncio
import re
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx2
import pytest

from tests.integration.harness import Proxy
from tests.support.local_http import local_http
from tests.support.ports import free_port
from tests.support.sdk_like import eventually

_CONFIGURATION: Final = Path(__file__).resolve().parents[2] / "deploy/haproxy/haproxy.cfg"
_READINESS: Final = "option httpchk GET /health/ready"


@dataclass(frozen=True, slots=True)
class Balancer:
    """HAProxy at ``url``; for users it is a member that never dies."""

    url: str
    life: int = 1


@asynccontextmanager
async def haproxy(members: Sequence[Proxy], place: Path) -> AsyncIterator[Balancer]:
    """HAProxy before these members, with its files in ``place``.

    Without TLS, and it asks for readiness five times as often as shipped, so that tests are short. Everything
    else is as shipped.
    """
    program = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
    if program is None:
        pytest.skip("no haproxy on PATH: install Debian's haproxy")
    port = free_port()
    configuration = place / "haproxy.cfg"
    configuration.write_text(_on_loopback(port, members))
    with (place / "haproxy.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            program, "-db", "-f", str(configuration), stdout=log, stderr=log
        )
    balancer = Balancer(f"http://127.0.0.1:{port}")
    try:
        async with local_http() as http:

            async def reaches_a_member() -> bool:
                assert process.returncode is None, (place / "haproxy.log").read_text()
                try:
                    return (await http.get(f"{balancer.url}/health/ready")).status_code == httpx2.codes.OK
                except httpx2.TransportError:
                    return False

            await eventually(reaches_a_member)
        yield balancer
        assert process.returncode is None, (place / "haproxy.log").read_text()
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def _on_loopback(port: int, members: Sequence[Proxy]) -> str:
    text = _CONFIGURATION.read_text()
    assert _READINESS in text
    text = re.sub(r"(?m)^    bind .*$", f"    bind 127.0.0.1:{port}", text)
    text = text.replace("inter 1s", "inter 200ms").replace(" resolvers dns init-addr last,libc,none", "")
    text, _, _ = text.partition("\nresolvers dns")
    servers = iter(members)
    text, count = re.subn(
        r"(?m)^    server (\S+) \S+$",
        lambda line: f"    server {line[1]} 127.0.0.1:{next(servers).port}",
        text,
    )
    assert count == len(members), "as many members as the file names"
    return f"{text}\n"
