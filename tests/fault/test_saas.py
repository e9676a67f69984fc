"""SaaS down, slow, wrong, half-open: the last good data is served, and what changed meanwhile arrives."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest

from ff_proxy.sandbox.faults import Fault
from ff_proxy.sandbox.keys import known_key
from ff_proxy.sandbox.running import RunningSandbox
from ff_proxy.sandbox.seed import default_environments
from tests.integration.harness import Proxy, online_options, sandbox
from tests.support.sdk_like import DEV, KEYS, OFFICE, PROD, SdkLike, eventually

QUICK = {"flag-poll-interval": "1", "api-key-refresh-interval": "1", "shutdown-delay": "0"}


@asynccontextmanager
async def relayed(tmp_path: Path, **options: str) -> AsyncIterator[tuple[RunningSandbox, Proxy]]:
    """A sandbox and a proxy in front of it; its log names no secret and no trace in the end."""
    async with sandbox(*default_environments()) as saas:
        chosen = online_options(saas, KEYS.values()) | QUICK | options
        async with Proxy.running(chosen, tmp_path / "log") as proxy:
            yield saas, proxy
        saas.faults.clear()
    said = proxy.log.read_text()
    assert "Traceback" not in said
    for secret in (*KEYS.values(), saas.state.admin_token):
        assert secret not in said


def lines(proxy: Proxy, event: str) -> list[dict[str, object]]:
    """The log lines of one event."""
    found = [json.loads(line) for line in proxy.log.read_text().splitlines() if line.startswith("{")]
    return [line for line in found if line["event"] == event]


async def test_an_outage_is_survived_and_made_up_for(tmp_path: Path) -> None:
    """Streams stay, fresh SDKs are served, and a change made meanwhile is an event when SaaS is back."""
    async with relayed(tmp_path) as (saas, proxy), SdkLike.connected(proxy.url, KEYS[DEV]) as client:
        async with client.stream() as stream:
            before = await client.value("dark_mode")
            await saas.streams.until(lambda count: count == 3)
            saas.down()
            saas.state.flip("development", "dark_mode", state="off" if before == "true" else "on")
            async with SdkLike.connected(proxy.url, KEYS[DEV]) as fresh:
                assert await fresh.value("dark_mode") == before
                async with fresh.stream():
                    pass
            ready = await client.http.get("/health/ready")
            assert ready.status_code == 200

            async def degraded() -> bool:
                return bool((await client.http.get("/health/ready")).json()["status"] == "degraded")

            await eventually(degraded)
            health = (await client.http.get("/health")).json()
            assert {one["streamStatus"]["state"] for one in health["environments"]} == {"DISCONNECTED"}
            await saas.up()
            async with asyncio.timeout(35):
                event = await stream.event()
            assert (event["event"], event["domain"], event["identifier"]) == ("patch", "flag", "dark_mode")
            assert (await client.get("/feature-configs/dark_mode")).json()["version"] == event["version"]


async def test_saas_down_at_start(tmp_path: Path) -> None:
    """Not ready and 503 until it is there; then everything, without a restart."""
    async with sandbox(*default_environments()) as saas:
        saas.down()
        proxy = Proxy(online_options(saas, KEYS.values()) | QUICK, tmp_path / "log")
        starting = asyncio.create_task(proxy.start())
        client = SdkLike(proxy.url, KEYS[DEV])
        async with client.http:

            async def unavailable() -> bool:
                try:
                    answer = await client.http.post("/client/auth", json={"apiKey": KEYS[DEV]})
                except httpx2.TransportError:
                    return False  # not listening yet
                assert answer.status_code == 503
                assert int(answer.headers["retry-after"]) <= 10
                return True

            await eventually(unavailable)
            assert (await client.http.get("/health/live")).status_code == 200
            assert (await client.http.get("/health/ready")).status_code == 503
            await saas.up()
            await starting
            await client.authenticate()
            assert (await client.get("/feature-configs")).status_code == 200
        await proxy.stop()


@pytest.mark.timeout(60)
async def test_one_bad_environment_never_delays_another(tmp_path: Path) -> None:
    """Slow, refused, or wrong: the others' flips arrive all the same, and what was loaded stays."""
    async with relayed(tmp_path) as (saas, proxy), SdkLike.connected(proxy.url, KEYS[DEV]) as client:
        async with SdkLike.connected(proxy.url, KEYS[PROD]) as other:
            kept = (await other.get("/feature-configs")).content
            for fault in (
                Fault(environment="production", delay_ms=20_000),
                Fault(route="flags", environment="production", body="html"),
                Fault(route="flags", environment="production", body="truncated"),
                Fault(route="segments", environment="production", body="garbage"),
                Fault(route="flags", environment="production", status=429, retry_after=1),
            ):
                saas.faults.add(fault)
                saas.streams.cut(how="reset")
                async with client.stream() as stream:
                    change = saas.state.flip("development", "dark_mode")
                    async with asyncio.timeout(10):
                        while (await stream.event()).get("version") != change.version:
                            pass
                assert (await other.get("/feature-configs")).content == kept
                saas.faults.clear()


async def test_a_stream_cut_in_the_middle_of_a_record(tmp_path: Path) -> None:
    """Garbage on the SaaS stream is passed over; the next event counts."""
    async with relayed(tmp_path) as (saas, proxy), SdkLike.connected(proxy.url, KEYS[DEV]) as client:
        async with client.stream() as stream:
            for broken in (
                b"event: *\ndata: {half",
                b'data: "text"\n\n',
                b"data: []\n\n",
                b"\xff\xfe\n\n",
                b"x" * 70_000,
            ):
                await saas.streams.until(lambda count: count == 3)
                saas.streams.send(None, broken)
                saas.streams.cut()
                await saas.streams.until(lambda count: count == 3)
            change = saas.state.flip("development", "dark_mode")
            async with asyncio.timeout(10):
                while (await stream.event()).get("version") != change.version:
                    pass


async def test_keys_come_and_go_without_a_restart(tmp_path: Path) -> None:
    """A new key works; a revoked one gets 403 on everything, and its streams end.

    See spec/behaviour#key-checks.
    """
    async with relayed(tmp_path) as (saas, proxy):
        added = known_key("second", "Server", "another-server-key")
        saas.state.find("development").keys.append(added)
        async with SdkLike.connected(proxy.url, added.text) as client:
            assert client.environment == DEV
            async with client.stream() as stream:
                saas.revoke("development", "second")
                async with asyncio.timeout(15):
                    while await stream.record() != b"":
                        pass
            assert (await client.get("/feature-configs")).status_code == 403
            assert (await client.post_usage("dark_mode", 1)).status_code == 403
            again = await client.http.post("/client/auth", json={"apiKey": added.text})
            assert again.status_code == 403


async def test_a_wrong_admin_token_is_said_and_serves_on(tmp_path: Path) -> None:
    """Configured keys that SaaS accepts are valid; readiness says what is degraded.

    See spec/behaviour#key-checks.
    """
    async with sandbox(*default_environments()) as saas:
        options = online_options(saas, [KEYS[DEV]]) | QUICK | {"admin-service-token": "wr0ng-token"}
        async with Proxy.running(options, tmp_path / "log") as proxy:
            async with SdkLike.connected(proxy.url, KEYS[DEV]) as client:

                async def degraded() -> bool:
                    state = (await client.http.get("/health/ready")).json()
                    return state["status"] == "degraded" and "admin-service-token" in str(state["reasons"])

                await eventually(degraded)
                await asyncio.sleep(2.5)  # several more attempts are made and not told
                said = lines(proxy, "Harness cannot be used")
                assert len(said) == 1
                assert (said[0]["level"], said[0]["affected"]) == ("error", ["keys"])
                assert "admin-service-token" in str(said[0]["cause"])
        assert "wr0ng-token" not in proxy.log.read_text()


async def test_a_bad_key_among_good_ones(tmp_path: Path) -> None:
    """It is named masked, and the others serve."""
    async with sandbox(*default_environments()) as saas:
        keys = [KEYS[DEV], "no-such-key-at-all", KEYS[OFFICE]]
        async with Proxy.running(online_options(saas, keys) | QUICK, tmp_path / "log") as proxy:
            async with SdkLike.connected(proxy.url, KEYS[OFFICE]) as client:
                assert (await client.get("/feature-configs")).status_code == 200
                reasons = (await client.http.get("/health/ready")).json()["reasons"]
                assert any("no-s***" in reason and "refused" in reason for reason in reasons)


async def test_a_storm_of_bad_keys_stays_here(tmp_path: Path) -> None:
    """SaaS hears of few, good keys are served meanwhile, and the log says it once."""
    async with relayed(tmp_path) as (saas, proxy), SdkLike.connected(proxy.url, KEYS[DEV]) as client:
        before = saas.journal.count("auth")
        gate = asyncio.Semaphore(50)

        async def try_key(number: int) -> int:
            async with gate:
                answer = await client.http.post("/client/auth", json={"apiKey": f"bad-key-{number}"})
            return answer.status_code

        codes = await asyncio.gather(*map(try_key, range(1500)))
        assert set(codes) <= {403, 429, 503}
        assert saas.journal.count("auth") - before < 100
        await client.authenticate()
        assert len(lines(proxy, "too many unknown keys, not checked with Harness")) == 1


async def test_usage_survives_a_saas_that_does_not_take_it(tmp_path: Path) -> None:
    """Kept, merged, and delivered once when it does."""
    async with relayed(tmp_path, **{"metric-post-duration": "1"}) as (saas, proxy):
        saas.faults.add(Fault(route="usage", status=503))
        async with SdkLike.connected(proxy.url, KEYS[DEV]) as client:
            for _ in range(7):
                assert (await client.post_usage("dark_mode", 3)).json() == {}
            await asyncio.sleep(2.5)
            saas.faults.clear()

            async def arrived() -> bool:
                return sum(entry.count for entry in saas.usage.sums()) >= 21

            await eventually(arrived, 40)
        assert sum(entry.count for entry in saas.usage.sums()) == 21
