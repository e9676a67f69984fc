"""The admin address says of each flag what Harness was told, whichever process was told it by SDKs."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx2
import pytest

from ff_proxy.sandbox.running import RunningSandbox
from ff_proxy.sandbox.seed import default_environments
from tests.integration.harness import Proxy, offline_options, online_options, sandbox
from tests.support.fleet import QUICK
from tests.support.local_http import local_http
from tests.support.offline import ENV, bakery
from tests.support.ports import free_port
from tests.support.redis_server import redis_server
from tests.support.sdk_like import DEV, KEYS, SdkLike, eventually

POSTS = 30


async def usage(http: httpx2.AsyncClient, port: int, environment: str = DEV) -> Any:
    """What the API says."""
    url = f"http://127.0.0.1:{port}/api/environments/{environment}"
    return (await http.get(url)).json()["usage"]


def told(said: Mapping[str, Any]) -> Mapping[tuple[str, str], int]:
    """Its sums; what was sent by now was sent within the hour."""
    assert all(row["lastHour"] == row["sinceStart"] for row in said["rows"])
    return {(row["flag"], row["variation"]): row["sinceStart"] for row in said["rows"]}


def received(saas: RunningSandbox) -> Mapping[tuple[str, str], int]:
    """What Harness has of the development environment."""
    sums: Counter[tuple[str, str]] = Counter()
    for one in saas.usage.sums():
        if one.environment == DEV:
            sums[one.flag, one.variation] += one.count
    return sums


async def post_much(proxy: Proxy) -> int:
    """Counts of several flags, variations and targets, over many connections; returns their sum."""
    total = 0
    async with SdkLike.connected(proxy.url, KEYS[DEV], keep_alive=False) as client:
        for number in range(POSTS):
            attributes = {"variationIdentifier": str(number % 2 == 0).lower(), "target": f"t{number % 7}"}
            answer = await client.post_usage(f"flag-{number % 3}", number + 1, **attributes)
            assert answer.status_code == 200
            total += number + 1
    return total


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_the_sums_are_what_harness_has_received(tmp_path: Path, workers: str) -> None:
    """With workers as with one process; of other environments there is nothing."""
    port = free_port()
    more = {"admin-address": f"127.0.0.1:{port}", "workers": workers}
    async with sandbox(*default_environments()) as saas, local_http() as http:
        options = online_options(saas, KEYS.values()) | QUICK | more
        async with Proxy.running(options, tmp_path / "log") as proxy:
            total = await post_much(proxy)

            async def all_told() -> bool:
                return sum(told(await usage(http, port)).values()) == total

            await eventually(all_told)
            said = await usage(http, port)
            assert told(said) == received(saas)
            assert len(told(said)) == 6
            assert (said["complete"], said["note"]) == (True, "")
            of_flag = await http.get(f"http://127.0.0.1:{port}/api/environments/{DEV}/flags/dark_mode")
            assert of_flag.json()["usage"]["rows"] == []
            others = [name for name in KEYS if name != DEV]
            assert [(await usage(http, port, name))["rows"] for name in others] == [[], []]


async def test_members_that_do_not_lead_say_who_sends(tmp_path: Path) -> None:
    """A replica sends nothing; what SDKs told it is in the leader's sums."""
    ports = {name: free_port() for name in ("one", "replica")}
    with redis_server(tmp_path / "redis") as redis:
        async with sandbox(*default_environments()) as saas, local_http() as http:
            shared = {"redis-address": f"127.0.0.1:{redis.port}", **QUICK}
            online = online_options(saas, KEYS.values()) | shared
            one = {**online, "admin-address": f"127.0.0.1:{ports['one']}"}
            replica = {**shared, "read-replica": "true", "admin-address": f"127.0.0.1:{ports['replica']}"}
            async with (
                Proxy.running(one, tmp_path / "one.log") as leader,
                Proxy.running(replica, tmp_path / "replica.log") as other,
            ):
                total = await post_much(other)

                async def all_told() -> bool:
                    return sum(told(await usage(http, ports["one"])).values()) == total

                await eventually(all_told)
                assert told(await usage(http, ports["one"])) == received(saas)
                said = await usage(http, ports["replica"])
                assert (said["rows"], said["since"]) == ([], None)
                assert said["note"].startswith("This is a read replica")
                assert f":{leader.port}) leads this environment now and sends its usage." in said["note"]


@pytest.mark.parametrize("off", ["offline", "metric-post-duration"])
async def test_a_proxy_that_drops_usage_says_so(tmp_path: Path, off: str) -> None:
    """Instead of zeros."""
    port = free_port()
    more = {"admin-address": f"127.0.0.1:{port}", "shutdown-delay": "0"}
    async with sandbox(*default_environments()) as saas, local_http() as http:
        bakery(tmp_path / "config")
        offline = {**offline_options(tmp_path / "config"), "auth-secret": "a-secret-of-the-tests"}
        online = online_options(saas, KEYS.values()) | {"metric-post-duration": "0"}
        async with Proxy.running((offline if off == "offline" else online) | more, tmp_path / "log"):
            environment = ENV if off == "offline" else DEV
            said = await usage(http, port, environment)
            assert (said["rows"], said["since"]) == ([], None)
            assert off in said["note"]
            page = (await http.get(f"http://127.0.0.1:{port}/environments/{environment}")).text
            assert said["note"] in page
