"""Members of a real fleet see each other on the admin address, until they die."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx2
import pytest

from ff_proxy import __version__
from tests.integration.harness import Proxy
from tests.support.builds import NEWER, newer_build
from tests.support.fleet import fleet
from tests.support.local_http import local_http
from tests.support.ports import free_port
from tests.support.redis_server import redis_server
from tests.support.sdk_like import KEYS, eventually


class Onlooker:
    """Somebody who looks at one member's admin address."""

    def __init__(self, http: httpx2.AsyncClient, port: int) -> None:
        self._http = http
        self._url = f"http://127.0.0.1:{port}/api"

    async def status(self) -> Any:
        """The proxy at a glance."""
        return (await self._http.get(f"{self._url}/status")).json()

    async def members(self) -> Mapping[int, Any]:
        """The members by the ports at which SDKs reach them."""
        found = (await self.status())["fleet"]["members"]
        return {int(one["address"].rpartition(":")[2]): one for one in found}

    async def sees(self, proxies: Sequence[Proxy], state: str = "ready") -> bool:
        """Whether it sees these members and no others, all of them like that."""
        members = await self.members()
        ports = {one.port for one in proxies}
        return members.keys() == ports and {one["state"] for one in members.values()} == {state}

    async def sees_led_by(self, proxy: Proxy) -> bool:
        """Whether that member leads every environment."""
        member = (await self.members()).get(proxy.port)
        return member is not None and set(member["leads"]) == KEYS.keys()


@pytest.mark.timeout(150)
async def test_members_see_each_other_and_a_dead_one_vanishes(tmp_path: Path) -> None:
    """With workers each is one member; one of another version stands out."""
    newer = newer_build(tmp_path / "newer")
    ports = {name: free_port() for name in ("one", "two", "replica")}
    workers = {"one": "2", "two": "1", "replica": "2"}
    special = {
        name: {"admin-address": f"127.0.0.1:{port}", "workers": workers[name]} for name, port in ports.items()
    }
    with redis_server(tmp_path / "redis") as redis:
        async with (
            fleet(tmp_path, f"127.0.0.1:{redis.port}", **special) as running,
            local_http() as http,
        ):
            lookers = {name: Onlooker(http, port) for name, port in ports.items()}
            for looker in lookers.values():
                await eventually(lambda looker=looker: looker.sees(running.members))
            members = await lookers["replica"].members()
            assert [members[one.port]["processes"] for one in running.members] == [3, 1, 2]
            assert [members[one.port]["mode"] for one in running.members] == [
                "online",
                "online",
                "read replica",
            ]
            assert {one["version"] for one in members.values()} == {__version__}
            led = [members[one.port]["leads"] for one in running.members]
            assert sorted(name for names in led for name in names) == sorted(KEYS)
            assert led[2] == []
            for name, looker in lookers.items():
                own = [port for port, one in (await looker.members()).items() if one["thisProxy"]]
                assert own == [getattr(running, name).port]

            await running.two.kill()
            await eventually(lambda: lookers["one"].sees([running.one, running.replica]))
            await eventually(lambda: lookers["replica"].sees_led_by(running.one))
            page = (await http.get(f"http://127.0.0.1:{ports['one']}/environments/{next(iter(KEYS))}")).text
            assert "this proxy" in page

            running.two.environ = newer
            await running.two.start()
            await eventually(lambda: lookers["one"].sees(running.members))
            assert (await lookers["one"].status())["fleet"]["versions"] == sorted([__version__, NEWER])
            assert "Upgrade in progress" in (await http.get(f"http://127.0.0.1:{ports['one']}")).text

            await running.two.stop()
            assert running.two.port not in await lookers["one"].members()
