"""Nothing that a proxy emits holds a secret or a piece of one, busy or failing, at DEBUG.

Keys, tokens and passwords are made up for each run, given in files, and looked for in every form that they
may have got: as they are, in base64, percent-encoded, cut.
"""

import asyncio
import base64
import os
import re
import secrets
import signal
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import quote

import httpx2
import pytest

from ff_proxy.sandbox.faults import Fault
from ff_proxy.sandbox.keys import known_key
from ff_proxy.sandbox.running import RunningSandbox
from ff_proxy.sandbox.seed import default_environments
from ff_proxy.sandbox.server import serve
from ff_proxy.sandbox.state import SandboxState
from tests.integration.harness import Proxy, online_options
from tests.support.commands import as_flags, run
from tests.support.local_http import local_http
from tests.support.log_scan import faults_of
from tests.support.ports import free_port
from tests.support.redis_server import redis_server
from tests.support.sdk_like import DEV, SdkLike, eventually

PIECE: Final = 9  # of a key, four characters may be shown, and six of its hash


@dataclass
class Found:
    """Everything that was emitted, by where."""

    texts: dict[str, str] = field(default_factory=dict)

    def add(self, where: str, text: str) -> None:
        """Keep it."""
        self.texts[where] = self.texts.get(where, "") + text

    def answer(self, where: str, response: httpx2.Response) -> None:
        """Keep an answer, head and body."""
        self.add(where, f"{response.status_code} {response.headers!r}\n{response.text}")

    def holds(self, hidden: Mapping[str, str]) -> list[str]:
        """Which of these secrets is where."""
        return [
            f"{name} in {where}"
            for name, secret in hidden.items()
            for where, text in self.texts.items()
            if any(piece in text for piece in pieces(secret))
        ]


def pieces(secret: str) -> Iterator[str]:
    """Whatever would give it away, or a good part of it."""
    # Behind zero, one or two other bytes it looks different in base64.
    encoded = [base64.b64encode(bytes(before) + secret.encode()).decode() for before in range(3)]
    in_base64 = [form[start:].rstrip("=")[:-1] for form, start in zip(encoded, (0, 2, 3), strict=True)]
    for form in (secret, quote(secret, safe=""), *in_base64):
        yield from (form[start : start + PIECE] for start in range(len(form) - PIECE + 1))


def made_up() -> dict[str, str]:
    """Secrets that no other run has."""
    names = ("key", "new-key", "admin-service-token", "auth-secret", "admin-token", "redis-password")
    return {name: secrets.token_urlsafe(24).strip("-_") for name in names}


def harness(hidden: Mapping[str, str]) -> SandboxState:
    """The sandbox's own environments, of which the first takes the keys that were made up."""
    made = default_environments()
    (first,) = [one for one in made if one.info.id == DEV]
    first.keys.extend(known_key(name, "Server", hidden[name]) for name in ("key", "new-key"))
    return SandboxState(made, admin_token=hidden["admin-service-token"])


def in_files(hidden: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Write each to a file of its own; returns the variables that name them."""
    folder.mkdir()
    named = {"api-keys": hidden["key"], **hidden}
    for name, secret in named.items():
        (folder / name).write_text(f"{secret}\n")
        (folder / name).chmod(0o600)
    options = ("api-keys", "admin-service-token", "auth-secret", "admin-token", "redis-password")
    return {f"{name.upper().replace('-', '_')}_FILE": str(folder / name) for name in options if name in named}


def processes(proxy: Proxy, found: Found) -> None:
    """Titles and command lines of all its processes."""
    pending = [proxy.pid]
    while pending:
        process = Path(f"/proc/{pending.pop()}")
        with suppress(OSError):
            found.add("process titles", (process / "cmdline").read_text() + (process / "comm").read_text())
            for task in (process / "task").iterdir():
                pending += map(int, (task / "children").read_text().split())


async def look_around(admin: httpx2.AsyncClient, http: httpx2.AsyncClient, found: Found, token: str) -> None:
    """Every page for operators that there is, with and without the token."""
    good = {"Authorization": f"Bearer {token}"}
    named = (await admin.get("/api/openapi.json", headers=good)).json()["paths"]
    listed = [path.replace("{id}", DEV).replace("{flag}", "dark_mode") for path in named]
    pages = ["/", "/sdks", "/queues", "/logs", "/settings", "/login", f"/environments/{DEV}"]
    pages += [f"/environments/{DEV}/target?identifier=a", f"/environments/{DEV}/flags/dark_mode"]
    for path in [*pages, *(path for path in listed if not path.endswith("/live"))]:
        for headers in (good, {"Authorization": f"Bearer {token[:-1]}"}):
            async with admin.stream("GET", path, headers=headers) as response:
                if "event-stream" not in response.headers.get("content-type", ""):
                    await response.aread()
                    found.answer(f"the admin address, {path}", response)
    for path in ("/metrics", "/health", "/health/ready", "/health/live"):
        found.answer(path, await http.get(path))


async def use_it_well_and_badly(proxy: Proxy, found: Found, hidden: Mapping[str, str]) -> dict[str, str]:
    """As SDKs, OpenFeature clients, strangers and broken clients do; returns what is secret from now on."""
    key = hidden["key"]
    async with SdkLike.connected(proxy.url, key) as client:
        http = client.http
        bad = client.token[:-2] + ("aa" if client.token[-2:] != "aa" else "bb")
        environment = f"/client/env/{client.environment}"
        for token in (client.token, bad, key, hidden["auth-secret"]):
            headers = {"Authorization": f"Bearer {token}"}
            for path in (
                "/feature-configs",
                "/no-such",
                "/target/ada/evaluations",
                f"/x?key={key}&token={token}",
            ):
                found.answer("a read", await http.get(environment + path, headers=headers))
            usage = await http.post(f"/metrics/{client.environment}", headers=headers, content=b"{")
            found.answer("usage", usage)
        assert (await client.post_usage("dark_mode", 3)).status_code == 200
        async with client.stream():
            pass
        for body in (
            {"apiKey": f"{key}x"},
            {"apiKey": key, "target": {"identifier": ["not", "text"]}},
            {"apiKey": {"a": key}},
        ):
            found.answer("POST /client/auth", await http.post("/client/auth", json=body))
        broken = await http.post("/client/auth", content=f'{{"apiKey": "{key}"'.encode())
        found.answer("POST /client/auth", broken)
        found.answer("a path", await http.get(f"/{client.token}/x/{client.token}"))
        for headers in ({"Authorization": f"Bearer {key}"}, {"X-API-Key": f"{key}x"}, {"X-API-Key": key}):
            context = {"context": {"targetingKey": "a"}}
            answer = await http.post("/ofrep/v1/evaluate/flags/dark_mode", json=context, headers=headers)
            found.answer("OFREP", answer)
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(f"GET /{key} HTTP/9.9\r\nAuthorization: {key}\r\n{key}\r\n\r\n".encode())
        found.add("an answer to nonsense", (await reader.read()).decode())
        writer.close()
        return {"the token that was issued": client.token.rpartition(".")[2]}


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_busy_proxy_gives_none_away(tmp_path: Path, workers: str) -> None:
    """Requests of every kind, its pages, metrics, reloads, a dump of its tasks, commands beside it."""
    hidden, found = made_up(), Found()
    async with serve(harness(hidden)) as saas:
        proxy, admin_port = prepare(saas, hidden, tmp_path, workers=workers)
        await proxy.start()
        try:
            hidden |= await use_it_well_and_badly(proxy, found, hidden)
            (tmp_path / "secrets/api-keys").write_text(f"{hidden['key']},{hidden['new-key']}")
            async with (
                local_http(f"http://127.0.0.1:{admin_port}") as admin,
                local_http(proxy.url) as http,
            ):
                token = hidden["admin-token"]
                reload = await admin.post("/api/reload", headers={"Authorization": f"Bearer {token}"})
                assert reload.status_code == 200
                found.answer("POST /api/reload", reload)
                wrong = await admin.post("/login", data={"token": hidden["auth-secret"]})
                found.answer("POST /login", wrong)
                await look_around(admin, http, found, token)
            os.kill(proxy.pid, signal.SIGUSR1)
            await eventually(lambda: said(proxy, '"tasks"'))
            processes(proxy, found)
            await ask_commands(proxy, found)
            await proxy.stop()
        finally:
            await proxy.kill()
    check(proxy, found, hidden)


async def said(proxy: Proxy, word: str) -> bool:
    """Whether the log has it."""
    return word in await asyncio.to_thread(proxy.log.read_text, "utf-8")


async def ask_commands(proxy: Proxy, found: Found) -> None:
    """Those that are run beside a proxy, with its configuration."""
    flags = as_flags(proxy._options)
    for line in ("print-config", "print-config -json", "doctor -stream-seconds=1", "ready"):
        _, text = await run(*line.split(), *flags, seconds=60.0, directory=None, fresh=False, **proxy.environ)
        found.add(f"ff-proxy {line}", text)


def prepare(
    saas: RunningSandbox, hidden: Mapping[str, str], tmp_path: Path, **more: str
) -> tuple[Proxy, int]:
    """A proxy that says all it can, with its secrets in files, and the port of its pages."""
    admin_port = free_port()
    options = online_options(saas, [])
    for name in ("api-keys", "admin-service-token"):
        del options[name]
    options |= {"log-level": "DEBUG", "access-log": "all", "admin-address": f"127.0.0.1:{admin_port}"}
    options |= {"shutdown-delay": "0", "metric-post-duration": "1", **more}
    proxy = Proxy(options, tmp_path / "log", fresh=True)  # its command line is searched, too
    proxy.environ = in_files(hidden, tmp_path / "secrets")
    return proxy, admin_port


def check(proxy: Proxy, found: Found, hidden: Mapping[str, str]) -> None:
    """Look for all of them in everything, and for tokens in the log."""
    log = proxy.log.read_text(encoding="utf-8")
    found.add("the log", log)
    assert len(log) > 1000
    assert found.holds(hidden) == []
    assert not faults_of(re.sub("sandbox-[a-z]+-server-key", "", log))


async def test_a_proxy_in_trouble_gives_none_away(tmp_path: Path) -> None:
    """Harness that refuses, breaks off and sends nonsense; a Redis that wants another password, then none."""
    hidden, found = made_up(), Found()
    with redis_server(tmp_path / "redis", ["--requirepass", f"{hidden['redis-password']}x"]) as redis:
        async with serve(harness(hidden)) as saas:
            store = f"redis://somebody:{quote(hidden['redis-password'])}@127.0.0.1:{redis.port}"
            proxy, admin_port = prepare(saas, hidden, tmp_path, workers="2")
            proxy.environ |= {"REDIS_ADDRESS_FILE": str(tmp_path / "secrets/redis-address")}
            (tmp_path / "secrets/redis-address").write_text(store)
            for fault in TROUBLES:
                saas.faults.add(fault)
            await proxy.launch()
            try:
                async with (
                    local_http(f"http://127.0.0.1:{admin_port}") as admin,
                    local_http(proxy.url) as http,
                ):
                    await eventually(lambda: answers(http))
                    found.answer("auth", await http.post("/client/auth", json={"apiKey": hidden["key"]}))
                    await look_around(admin, http, found, hidden["admin-token"])
                    await eventually(lambda: said(proxy, "redis"))
                    redis.stop()
                    found.answer("ready", await http.get("/health/ready"))
                await ask_commands(proxy, found)
                processes(proxy, found)
                await proxy.stop()
            finally:
                await proxy.kill()
    check(proxy, found, hidden)


TROUBLES: Final = (
    Fault(route="admin-keys", status=403, body="error", count=2),
    Fault(route="admin-keys", connection="reset", count=1),
    Fault(route="auth", status=403, body="error", count=1),
    Fault(route="auth", status=200, body="html", count=1),
    Fault(route="auth", body="garbage", count=1),
    Fault(route="flags", body="truncated", count=2),
    Fault(route="stream", status=401, body="error", count=2),
)


async def answers(http: httpx2.AsyncClient) -> bool:
    """Whether it listens."""
    with suppress(httpx2.TransportError):
        return (await http.get("/health")).status_code == 200
    return False


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "Basic dXNlcjphYmNkL2VmZ2hpamtsbW5vcA==",
        "?token=abcd%2Fefghijklmnop",
        "key ...efghijklmn...",
    ],
)
def test_a_secret_is_found_in_every_form(text: str) -> None:
    """Or the tests above would pass whatever is emitted."""
    found = Found()
    found.add("a log", text.format("abcd/efghijklmnop"))
    assert found.holds({"one": "abcd/efghijklmnop", "another": "0123456789abcdef"}) == ["one in a log"]
