"""Members of a fleet, and who leads, on pages and in the API."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from ff_proxy.errors import StoreUnavailable
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.member import FleetMember, SeenMember
from tests.support.admin import AdminWorld
from tests.support.configs import ENVIRONMENT, config, flag


class Fleet:
    """Two members; the other one leads."""

    own = "me"

    def __init__(self) -> None:
        self.members = [
            SeenMember(
                FleetMember("other", "host-b", "http://*:7000", "online", "1.2.3", state="ready"), 1.26
            ),
            SeenMember(
                FleetMember("me", "host-a", "http://*:7000", "online", "1.2.3", state="degraded"), 0.0
            ),
        ]
        self.lease = "other"
        self.error: StoreUnavailable | None = None
        self.silent = False

    async def put(self, member: FleetMember) -> bool:
        raise NotImplementedError  # the admin address only reads

    async def take_out(self) -> None:
        raise NotImplementedError

    async def present(self) -> Sequence[SeenMember]:
        if self.silent:
            await asyncio.get_running_loop().create_future()
        if self.error is not None:
            raise self.error
        return self.members

    async def leaders(self, environments: Iterable[EnvironmentId]) -> Mapping[EnvironmentId, str]:
        return {name: self.lease for name in environments if self.lease}


async def test_one_proxy_without_a_fleet_shows_none_of_this() -> None:
    """Neither page nor API."""
    world = AdminWorld()
    await world.hold(config(flag("a")))
    async with world.client() as http:
        status = (await http.get("/api/status")).json()
        assert status["fleet"] is None
        assert [one["leader"] for one in status["environments"]] == [None]
        for path in ("/", f"/environments/{ENVIRONMENT}"):
            page = (await http.get(path)).text
            assert "fleet" not in page
            assert "ed by" not in page


async def test_members_with_what_each_of_them_leads() -> None:
    """In the order of their hosts; the environment's page says who it is."""
    world = AdminWorld(fleet=Fleet())
    await world.hold(config(flag("a")))
    async with world.client() as http:
        status = (await http.get("/api/status")).json()
        overview, page = (await http.get("/")).text, (await http.get(f"/environments/{ENVIRONMENT}")).text
    fleet = status["fleet"]
    assert (fleet["versions"], fleet["trouble"]) == (["1.2.3"], "")
    assert [
        (one["id"], one["host"], one["state"], one["leads"], one["thisProxy"], one["seenSecondsAgo"])
        for one in fleet["members"]
    ] == [
        ("me", "host-a", "degraded", [], True, 0.0),
        ("other", "host-b", "ready", [ENVIRONMENT], False, 1.3),
    ]
    leader = {"id": "other", "host": "host-b", "address": "http://*:7000", "thisProxy": False}
    assert status["environments"][0]["leader"] == leader
    assert "led by host-b" in " ".join(overview.split())
    assert "Upgrade in progress" not in overview
    assert "<dt>Led by</dt><dd>host-b" in page.replace("\n", "")


async def test_a_mixed_version_stands_out() -> None:
    """A member of a version that does not register can lead too."""
    fleet = Fleet()
    old = FleetMember("older", "host-c", version="1.1.0", state="ready")
    fleet.members.append(SeenMember(old, 2.0))
    fleet.lease = "oldest"
    world = AdminWorld(fleet=fleet)
    await world.hold(config(flag("a")))
    async with world.client() as http:
        status = (await http.get("/api/status")).json()
        overview, page = (await http.get("/")).text, (await http.get(f"/environments/{ENVIRONMENT}")).text
    assert status["fleet"]["versions"] == ["1.1.0", "1.2.3"]
    assert "versions 1.1.0 and 1.2.3 run at the same time" in overview
    assert "an unlisted member" in page


async def test_nobody_leads_for_a_moment() -> None:
    """After the leader has died, until its lease is over."""
    fleet = Fleet()
    fleet.lease = ""
    world = AdminWorld(fleet=fleet)
    await world.hold(config(flag("a")))
    async with world.client() as http:
        assert "no leader" in (await http.get(f"/environments/{ENVIRONMENT}")).text
        status = (await http.get("/api/status")).json()
    assert status["environments"][0]["leader"]["id"] == ""


async def test_a_store_that_is_away_or_silent_costs_the_members_only() -> None:
    """The page says why they are missing, and has everything else."""
    fleet = Fleet()
    world = AdminWorld(fleet=fleet)
    await world.hold(config(flag("a")))
    async with world.client() as http:
        fleet.error = StoreUnavailable("Redis: <gone>")
        status = (await http.get("/api/status")).json()
        assert (status["fleet"]["members"], status["fleet"]["trouble"]) == ([], "Redis: <gone>")
        assert status["environments"][0]["leader"] is None
        assert "cannot be read from Redis: Redis: &lt;gone&gt;" in (await http.get("/")).text
        fleet.silent = True
        status = (await http.get("/api/status")).json()
        assert "does not answer" in status["fleet"]["trouble"]
        fleet.error, fleet.silent, fleet.members = None, False, []
        assert "Redis has no members listed" in (await http.get("/")).text
    assert world.failures == []


async def test_members_with_different_secrets_are_marked() -> None:
    """In the API and on the page, without any part of what tells them apart."""
    fleet = Fleet()
    world = AdminWorld(fleet=fleet)
    for prints, different in ((("", ""), False), (("aaaa", "aaaa"), False), (("aaaa", "bbbb"), True)):
        fleet.members = [
            SeenMember(msgspec.structs.replace(one.member, signs_with=print_), one.age)
            for one, print_ in zip(fleet.members, prints, strict=True)
        ]
        async with world.client() as http:
            status, page = await http.get("/api/status"), (await http.get("/")).text
        assert status.json()["fleet"]["differentSecrets"] is different
        assert ("Different secrets" in page) is different
        assert "bbbb" not in status.text + page
