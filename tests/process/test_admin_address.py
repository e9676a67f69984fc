"""Where the admin address listens, and what becomes of a proxy that cannot have it."""

import asyncio
import json
import socket
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.integration.harness import Proxy, offline_options
from tests.support.local_http import local_http
from tests.support.offline import ENV, bakery
from tests.support.ports import free_port
from tests.support.sdk_like import eventually


def options(folder: Path, **more: str) -> Mapping[str, str]:
    """A proxy that serves a small directory."""
    bakery(folder / "config")
    given = {name.replace("_", "-"): value for name, value in more.items()}
    return {**offline_options(folder / "config"), "auth-secret": "s3", "shutdown-delay": "0", **given}


async def end(proxy: Proxy) -> int | None:
    """How a proxy ends that cannot start."""
    await proxy.launch()
    process = proxy._process
    assert process is not None
    async with asyncio.timeout(30):
        await process.wait()
    return process.returncode


async def test_a_chosen_address_that_is_taken_is_exit_3(tmp_path: Path) -> None:
    """The message names the option."""
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        proxy = Proxy(options(tmp_path, admin_address=f"127.0.0.1:{port}"), tmp_path / "log")
        assert await end(proxy) == 3
    assert "admin-address" in proxy.last_words()


@pytest.mark.parametrize("address", ["0.0.0.0:7999", ":7999", "192.0.2.1:7999"])
async def test_an_address_for_others_needs_a_token(tmp_path: Path, address: str) -> None:
    """Exit 2, before anything is bound."""
    proxy = Proxy(options(tmp_path, admin_address=address), tmp_path / "log")
    assert await end(proxy) == 2
    assert "admin-token" in proxy.last_words()


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_it_answers_in_offline_mode_and_ends_with_the_proxy(tmp_path: Path, workers: str) -> None:
    """Also while a page listens for events."""
    port = free_port()
    given = options(tmp_path, admin_address=f"127.0.0.1:{port}", workers=workers)
    async with (
        Proxy.running(given, tmp_path / "log") as proxy,
        local_http(f"http://127.0.0.1:{port}") as http,
    ):
        status = (await http.get("/api/status")).json()
        assert (status["mode"], status["state"]) == ("offline", "ready")
        assert [one["id"] for one in status["environments"]] == [ENV]
        async with http.stream("GET", "/live") as live:
            assert live.headers["content-type"].startswith("text/event-stream")
            await proxy.stop()


async def test_the_log_is_that_of_all_processes(tmp_path: Path) -> None:
    """Line for line what the proxy has written, whichever process wrote it."""
    port = free_port()
    given = options(tmp_path, admin_address=f"127.0.0.1:{port}", workers="2", access_log="all")
    async with (
        Proxy.running(given, tmp_path / "log") as proxy,
        local_http(f"http://127.0.0.1:{port}") as http,
    ):

        async def all_wrote() -> bool:
            async with local_http() as fresh:  # reaches one worker or the other
                await fresh.get(f"{proxy.url}/nowhere")
            wrote = {one["process"] for one in (await http.get("/api/logs")).json()}
            return wrote == {"supervisor", "sync", "worker-1", "worker-2"}

        await eventually(all_wrote)
        shown = (await http.get("/api/logs")).json()
        written = [json.loads(line) for line in proxy.log.read_text().splitlines()]
        assert {(one["at"], one["event"]) for one in shown} <= {(one["ts"], one["event"]) for one in written}
        assert {(one["ts"], one["event"]) for one in written[:20]} <= {
            (one["at"], one["event"]) for one in shown
        }
        assert [one["at"] for one in shown] == sorted((one["at"] for one in shown), reverse=True)
        page = (await http.get("/logs")).text
        assert all(f">{name} " in page for name in ("supervisor", "sync", "worker-1", "worker-2"))
