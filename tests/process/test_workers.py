"""Several workers behave as one process: whatever one of them was told, all of them know."""

import asyncio
import json
import os
import signal
import socket
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import httpx2
import pytest

from ff_proxy.sandbox.faults import Fault
from ff_proxy.sandbox.keys import known_key
from ff_proxy.sandbox.running import RunningSandbox
from ff_proxy.sandbox.seed import default_environments
from tests.integration.harness import Proxy, online_options, sandbox
from tests.support.certificates import make_certificate
from tests.support.commands import Command, as_flags, run
from tests.support.local_http import local_http
from tests.support.metrics import metric_sum
from tests.support.offline import bakery
from tests.support.ports import free_port
from tests.support.sdk_like import DEV, KEYS, SdkLike, eventually
from tests.support.streams import StreamClient
from tests.support.workers import alive, kill, pids

WORKERS = 3
QUICK = {"workers": str(WORKERS), "shutdown-delay": "0", "metric-post-duration": "1"}
FLIPS = 40


@asynccontextmanager
async def pack(tmp_path: Path, **more: str) -> AsyncIterator[tuple[RunningSandbox, Proxy]]:
    """A sandbox, and a proxy of several workers in front of it."""
    async with sandbox(*default_environments()) as saas:
        options = online_options(saas, KEYS.values()) | QUICK | more
        async with Proxy.running(options, tmp_path / "log") as proxy:
            yield saas, proxy


async def streams_on_all(client: SdkLike, stack: AsyncExitStack) -> list[StreamClient]:
    """So many streams that, as the system spreads them by chance, every worker has some."""
    return [await stack.enter_async_context(client.stream()) for _ in range(30)]


async def test_event_then_fetch_never_goes_back_through_any_worker(tmp_path: Path) -> None:
    """Whoever is told of a version finds it or a newer one, asking anybody, one by one or all at once."""
    async with pack(tmp_path) as (saas, proxy), AsyncExitStack() as stack:
        client = await stack.enter_async_context(SdkLike.connected(proxy.url, KEYS[DEV], keep_alive=False))
        streams = await streams_on_all(client, stack)
        before = (await client.get("/feature-configs/dark_mode")).json()["version"]

        async def follow(stream: StreamClient) -> int:
            version = before
            while version < before + FLIPS:
                event = await stream.event()
                if event["identifier"] != "dark_mode":
                    continue
                version = event["version"]
                one, everything = await asyncio.gather(
                    client.get("/feature-configs/dark_mode"), client.get("/feature-configs")
                )
                found = next(flag for flag in everything.json() if flag["feature"] == "dark_mode")
                assert one.json()["version"] >= version
                assert found["version"] >= version
            return int(version)

        following = [asyncio.create_task(follow(stream)) for stream in streams[:12]]
        for _ in range(FLIPS):
            saas.state.flip("development", "dark_mode")
            await asyncio.sleep(0.05)
        assert set(await asyncio.gather(*following)) == {before + FLIPS}


async def test_a_target_authenticated_anywhere_is_known_everywhere(tmp_path: Path) -> None:
    """Also when it was another one a moment ago."""
    async with pack(tmp_path) as (_, proxy):
        async with SdkLike.connected(proxy.url, KEYS[DEV], keep_alive=False) as client:
            attributes: dict[bool, dict[str, object]] = {True: {"device": "desktop"}, False: {}}
            values = {}
            for inside, described in attributes.items():
                await client.authenticate({"identifier": "model", "attributes": described})
                values[inside] = await client.value("search_results_per_page", "model")
            assert values[True] != values[False], "the flag does not depend on the attributes"
            for turn in range(40):
                inside = turn % 2 == 0
                await client.authenticate({"identifier": "zed", "attributes": attributes[inside]})
                found = await asyncio.gather(
                    *(client.value("search_results_per_page", "zed") for _ in range(6))
                )
                assert set(found) == {values[inside]}, turn


async def test_usage_and_metrics_add_up(tmp_path: Path) -> None:
    """What all workers took arrives once; any of them shows the sums, which no death makes smaller."""
    async with pack(tmp_path) as (saas, proxy), AsyncExitStack() as stack:
        client = await stack.enter_async_context(SdkLike.connected(proxy.url, KEYS[DEV], keep_alive=False))
        streams = await streams_on_all(client, stack)
        for _ in range(120):
            assert (await client.post_usage("dark_mode", 2)).status_code == 200

        async def arrived() -> bool:
            return sum(entry.count for entry in saas.usage.sums()) >= 240

        await eventually(arrived)

        async def counted() -> bool:
            return await figure(client, "ff_proxy_http_requests_total", 'url="/metrics/{env}"') == 120

        await eventually(counted)
        assert await figure(client, "ff_proxy_sdk_streams") == len(streams)
        await kill(proxy, "worker-2")
        low = await figure(client, "ff_proxy_sdk_streams")
        assert low < len(streams)
        for _ in range(30):
            assert await figure(client, "ff_proxy_http_requests_total", 'url="/metrics/{env}"') >= 120
        await client.post_usage("dark_mode", 2)

        async def once_more() -> bool:
            return await figure(client, "ff_proxy_http_requests_total", 'url="/metrics/{env}"') == 121

        await eventually(once_more)

    assert sum(entry.count for entry in saas.usage.sums()) == 242


async def figure(client: SdkLike, name: str, label: str = "") -> float:
    """The sum of a figure's samples as some worker shows it."""
    return metric_sum((await client.http.get("/metrics")).text, name, label)


async def test_the_metrics_have_a_port_of_their_own_which_outlives_its_process(tmp_path: Path) -> None:
    """Bound once, by the process that never dies."""
    port = free_port()
    async with pack(tmp_path, **{"prometheus-port": str(port)}) as (_, proxy):
        async with local_http() as http:
            for _ in range(2):
                answer = await http.get(f"http://127.0.0.1:{port}/metrics")
                assert "ff_proxy_stream_health" in answer.text
                assert (await http.get(f"{proxy.url}/metrics")).status_code == 404
                await kill(proxy, "sync")

                async def connected() -> bool:
                    answer = await http.get(f"http://127.0.0.1:{port}/metrics", timeout=10)
                    return "ff_proxy_stream_health" in answer.text

                await eventually(connected)


async def test_keys_are_checked_with_saas_by_the_one_that_is_connected(tmp_path: Path) -> None:
    """A new key works at every worker, a bad one is refused, and health speaks of every environment."""
    async with pack(tmp_path) as (saas, proxy):
        added = known_key("second", "Server", "brand-new-server-key")
        saas.state.find("development").keys.append(added)
        async with SdkLike.connected(proxy.url, KEYS[DEV], keep_alive=False) as client:
            for _ in range(6):
                answer = await client.http.post("/client/auth", json={"apiKey": "no-such-key"})
                assert answer.status_code == 403
                overview = (await client.http.get("/health")).json()
                assert {one["id"] for one in overview["environments"]} == set(KEYS)
                assert {one["streamStatus"]["state"] for one in overview["environments"]} == {"CONNECTED"}
        for _ in range(6):
            async with SdkLike.connected(proxy.url, added.text) as newcomer:
                assert newcomer.environment == DEV


async def test_sigterm_takes_everything_down_in_order(tmp_path: Path) -> None:
    """Exit 0 in time; usage delivered, streams ended whole, nobody left, the port free."""
    async with sandbox(*default_environments()) as saas:
        options = online_options(saas, KEYS.values()) | QUICK
        options |= {"shutdown-delay": "1", "shutdown-deadline": "6", "metric-post-duration": "60"}
        proxy = Proxy(options, tmp_path / "log")
        async with AsyncExitStack() as stack:
            stack.push_async_callback(proxy.kill)
            await proxy.start()
            client = await stack.enter_async_context(
                SdkLike.connected(proxy.url, KEYS[DEV], keep_alive=False)
            )
            streams = [await stack.enter_async_context(client.stream()) for _ in range(40)]
            children = pids(proxy)
            sent = 0
            for _ in range(30):
                assert (await client.post_usage("dark_mode", 1)).status_code == 200
                sent += 1
            assert proxy._process is not None
            begun = time.monotonic()
            # As a terminal does: everybody in the group hears of it.
            for pid in (proxy._process.pid, *children.values()):
                os.kill(pid, signal.SIGTERM)
            await asyncio.sleep(0.3)
            assert (await client.post_usage("dark_mode", 1)).status_code == 200, "still accepting"
            sent += 1
            assert (await client.http.get("/health/ready")).status_code == 503
            for stream in streams:
                while await stream.record() != b"":
                    pass
            assert await proxy._process.wait() == 0
            assert time.monotonic() - begun < 15
        assert sum(entry.count for entry in saas.usage.sums()) == sent
        assert not [name for name, pid in children.items() if alive(pid)]
        socket.create_server(("", proxy.port)).close()
    said = [json.loads(line) for line in proxy.log.read_text().splitlines()]
    stopped = [line["process"] for line in said if line["event"] == "stopped"]
    assert stopped[-2:] == ["sync", "supervisor"]


async def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    """Whoever presses Ctrl-C twice does not want to wait."""
    slow = {"shutdown-delay": "20", "shutdown-deadline": "30"}
    async with pack(tmp_path, **slow) as (_, proxy), AsyncExitStack() as stack:
        # With nothing connected there would be no delay.
        client = await stack.enter_async_context(SdkLike.connected(proxy.url, KEYS[DEV]))
        await streams_on_all(client, stack)
        children = pids(proxy)
        assert proxy._process is not None
        begun = time.monotonic()
        proxy._process.send_signal(signal.SIGINT)
        await asyncio.sleep(0.3)
        proxy._process.send_signal(signal.SIGINT)
        assert await proxy._process.wait() == 0
        assert time.monotonic() - begun < 15
        assert not [name for name, pid in children.items() if alive(pid)]


async def test_a_busy_port_is_one_line(tmp_path: Path) -> None:
    """Exit 3 before anybody is forked, also if it is another proxy of several workers."""
    async with pack(tmp_path) as (saas, proxy):
        options = online_options(saas, KEYS.values()) | QUICK | {"port": str(proxy.port)}
        code, said = await run(*as_flags(options))
    assert code == 3
    # Whoever runs beside it may have the default admin address, which is another line.
    lines = [line for line in said.splitlines() if "in use" in line and str(proxy.port) in line]
    assert len(lines) == 1
    assert "process started" not in said


async def test_a_data_directory_in_use_stops_everything(tmp_path: Path) -> None:
    """What one process cannot start without is told once, and the others end with it."""
    (tmp_path / "env-e1").mkdir()
    one = ["-offline", f"-config-dir={tmp_path}", f"-data-dir={tmp_path / 'data'}", "-shutdown-delay=0"]
    first = Command(*one, f"-port={free_port()}")
    await first.start()
    await first.until("listening")
    code, said = await run(*one, f"-port={free_port()}", "-workers=2")
    await first.kill()
    assert code == 3
    assert said.count("in use by another ff-proxy") == 1


async def test_connections_are_divided_among_workers(tmp_path: Path) -> None:
    """Together they take what ``max-connections`` allows."""
    async with pack(tmp_path, **{"max-connections": "6"}) as (_, proxy), AsyncExitStack() as stack:
        client = await stack.enter_async_context(SdkLike.connected(proxy.url, KEYS[DEV], keep_alive=False))
        opened = 0
        for _ in range(60):
            with suppress(AssertionError, OSError):
                await stack.enter_async_context(client.stream())
                opened += 1
        assert opened == 6


async def test_each_worker_speaks_tls(tmp_path: Path) -> None:
    """Each has read the certificate itself."""
    certificate, key = make_certificate(tmp_path)
    trusting = ssl.create_default_context(cafile=str(certificate))
    bakery(tmp_path / "config")
    port = free_port()
    flags = ["-offline", f"-config-dir={tmp_path / 'config'}", f"-port={port}", "-workers=3"]
    command = Command(*flags, "-tls-enabled", f"-tls-cert={certificate}", f"-tls-key={key}")
    await command.start()
    for _ in range(3):
        await command.until("listening")
    async with httpx2.AsyncClient(trust_env=False, verify=trusting) as http:
        for _ in range(10):
            answer = await http.get(f"https://127.0.0.1:{port}/health/live", headers={"Connection": "close"})
            assert answer.status_code == 200
    command.signal(signal.SIGTERM)
    assert await command.end() == 0


async def test_a_start_that_waits_for_saas_can_be_ended() -> None:
    """Nobody is ready, and a signal ends everybody."""
    async with sandbox(*default_environments()) as saas:
        saas.faults.add(Fault(connection="hang"))
        command = Command(*as_flags(online_options(saas, KEYS.values()) | QUICK | {"port": str(free_port())}))
        await command.start()
        for _ in range(WORKERS):
            await command.until("listening")
        command.signal(signal.SIGTERM)
        assert await command.end() == 0
        saas.faults.clear()


@pytest.mark.parametrize("flag", ["-tls-cert", "-tls-key"])
async def test_unusable_certificates_are_told_once(tmp_path: Path, flag: str) -> None:
    """By the supervisor, before there are workers."""
    (tmp_path / "env-e1").mkdir()
    paper = tmp_path / "paper.pem"
    paper.write_text("not a certificate")
    options = ["-offline", f"-config-dir={tmp_path}", f"-port={free_port()}", "-workers=2"]
    code, said = await run(*options, "-tls-enabled", f"-tls-cert={paper}", f"-tls-key={paper}", f"{flag}=/no")
    assert code == 3
    assert said.count("cannot be used") == 1
