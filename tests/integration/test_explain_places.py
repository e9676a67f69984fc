"""``ff-proxy explain`` asks a data directory, Redis and a running proxy, beside whoever uses them."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from ff_proxy.errors import ExitCode, StoreUnavailable, StoreUnusable
from ff_proxy.model.environment import EnvironmentConfig
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.model.redis import Topology
from ff_proxy.model.target import Target
from ff_proxy.store.redis import Endpoint, RedisStore
from ff_proxy.store.sqlite import SqliteStore
from ff_proxy.store.sqlite.reading import check_stored, stored_environments, stored_target
from ff_proxy.telemetry import null_telemetry
from tests.integration.harness import Proxy, offline_options
from tests.support.clock import FakeClock
from tests.support.commands import run
from tests.support.configs import ENVIRONMENT, KEY, config, flag, segment
from tests.support.engines import clause, in_segments, rule
from tests.support.offline import ENV, bakery
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer
from tests.support.web import Site, serving

ANA = Target("ana", "Ana", {"plan": "gold"})
OTHER = EnvironmentId("8f0f3f3e-0000-4000-8000-000000000002")
ASKED = ("explain", "-flag=checkout", "-target=ana")


def shop() -> EnvironmentConfig:
    """Serves true by default, false to those on a plan, and false to a group."""
    return config(
        flag(
            rules=[
                rule("false", clause("plan", "equal", "gold")),
                rule("false", in_segments("both"), priority=2),
            ]
        ),
        segment(
            "both",
            rules=[clause("identifier", "equal", "bo")],
            servingRules=[{"priority": 1, "clauses": [clause("identifier", "equal", "nobody")]}],
        ),
    )


def last(said: str) -> str:
    """The last line of what was said."""
    return said.splitlines()[-1]


async def test_a_data_directory_is_read_beside_its_proxy(tmp_path: Path) -> None:
    """With the attributes that an SDK sent."""
    async with SqliteStore(tmp_path, "one", FakeClock(), null_telemetry()) as store:
        await store.configs.replace(shop())
        await store.targets.put(ENVIRONMENT, ANA)
        code, said = await run(*ASKED, f"-data-dir={tmp_path}", "-environment=production")
        assert (code, last(said)) == (ExitCode.OK, "=> checkout: false = 'false' (rule)"), said
        assert "+ plan is 'gold': equals 'gold'" in said


@pytest.fixture
async def left(tmp_path: Path) -> AsyncIterator[Path]:
    """A data directory whose proxy has ended, and in which nobody may write any more."""
    async with SqliteStore(tmp_path, "one", FakeClock(), null_telemetry()) as store:
        await store.configs.replace(shop())
        await store.targets.put(ENVIRONMENT, ANA)
    (tmp_path / "ff-proxy.sqlite").chmod(0o400)
    await asyncio.to_thread(tmp_path.chmod, 0o500)
    yield tmp_path
    await asyncio.to_thread(tmp_path.chmod, 0o700)


def test_a_data_directory_that_nobody_uses_is_read_as_it_is(left: Path) -> None:
    """Nothing is made beside the file."""
    assert [found.id for found in stored_environments(left)] == [ENVIRONMENT]
    assert stored_target(left, ENVIRONMENT, "ana") == ANA
    assert stored_target(left, ENVIRONMENT, "bo") is None
    assert check_stored(left) == 1
    assert sorted(path.name for path in left.iterdir()) == ["ff-proxy.lock", "ff-proxy.sqlite"]


async def test_a_directory_without_a_store_is_named(tmp_path: Path) -> None:
    """Or with one of somebody else."""
    code, said = await run(*ASKED, f"-data-dir={tmp_path}")
    assert code == ExitCode.CRASH
    assert said == f"ff-proxy: there is no ff-proxy.sqlite in {tmp_path}: is that the data-dir of a proxy?\n"
    (tmp_path / "ff-proxy.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(StoreUnusable, match="is damaged"):
        stored_environments(tmp_path)
    (tmp_path / "ff-proxy.sqlite").write_bytes(b"")
    with pytest.raises(StoreUnusable, match="is not a file of ff-proxy"):
        check_stored(tmp_path)
    with pytest.raises(StoreUnavailable):
        stored_environments(tmp_path / "absent")


async def test_redis_is_read_with_its_targets(server: RedisServer, prefix: str) -> None:
    """Two environments: the one that is meant is named by id or identifier."""
    where = Endpoint(Topology.SINGLE, (("127.0.0.1", server.port),))
    async with RedisStore(where, prefix, "first", FakeClock(), null_telemetry()) as store:
        await store.configs.replace(shop())
        await store.configs.replace(
            msgspec.structs.replace(
                shop(), info=msgspec.structs.replace(shop().info, id=OTHER, identifier="development")
            )
        )
        await store.targets.put(ENVIRONMENT, ANA)
    place = (f"-redis-address=127.0.0.1:{server.port}", f"-redis-prefix={prefix}")
    code, said = await run(*ASKED, *place, "-environment=production")
    assert (code, last(said)) == (ExitCode.OK, "=> checkout: false = 'false' (rule)"), said
    code, said = await run(*ASKED, *place, f"-environment={OTHER}")
    assert (code, last(said)) == (ExitCode.OK, "=> checkout: true = 'true' (default)"), said
    code, said = await run(*ASKED, *place)
    assert code == ExitCode.BAD_CONFIGURATION
    assert f"{ENVIRONMENT} (production)" in said
    assert f"{OTHER} (development)" in said


async def test_a_running_proxy_is_asked_as_an_sdk_asks() -> None:
    """The key from the environment; steps and the proxy's own answer agree."""
    async with serving(Site(), shop()) as site:
        url = f"-url=http://127.0.0.1:{site.port}"
        code, said = await run(*ASKED, url, '-attributes={"plan": "gold"}', "-json", API_KEYS=KEY)
        assert code == ExitCode.OK, said
        doc = json.loads(said)
        assert doc["environment"]["id"] == ENVIRONMENT
        assert doc["outcome"]["variation"] == "false"
        assert doc["notes"] == []
        assert [step["kind"] for step in doc["steps"]] == ["state", "rule"]
        assert doc["steps"][1]["inner"][0]["facts"] == {
            "attribute": "plan",
            "value": "gold",
            "op": "equal",
            "values": ["gold"],
        }
        assert site.registrar.registered == []
        code, said = await run(*ASKED, url, "-api-keys=unknown-key")
        assert code == ExitCode.CRASH
        assert "does not know key unkn***#" in said


async def test_the_last_line_is_what_the_proxy_answers() -> None:
    """Also where it knows more of the target, or evaluates groups otherwise."""
    async with serving(Site(), shop()) as site:
        url = (f"-url=http://127.0.0.1:{site.port}", f"-api-keys={KEY}")
        await site.store.targets.put(ENVIRONMENT, ANA)
        code, said = await run(*ASKED, *url)
        assert code == ExitCode.OK
        assert last(said) == "=> checkout: false = 'false' (as the proxy answers)"
        assert "give them with -attributes" in said
        code, said = await run("explain", "-flag=checkout", "-target=bo", *url, "-and-rules=false")
        assert code == ExitCode.OK
        assert last(said) == "=> checkout: true = 'true' (as the proxy answers)"
        assert "note: these steps lead to false, and the proxy says true" in said


@pytest.mark.parametrize("token", ["", "an-admin-token"])
async def test_an_admin_address_gives_its_own_steps(tmp_path: Path, token: str) -> None:
    """With the attributes that only the proxy knows, and those that are given; a token may be wanted."""
    bakery(tmp_path / "config")
    port = free_port()
    options = offline_options(tmp_path / "config") | {
        "auth-secret": "s" * 32,
        "shutdown-delay": "0",
        "admin-address": f"127.0.0.1:{port}",
        "admin-token": token,
    }
    asked = ("explain", "-target=ada", f"-url=http://127.0.0.1:{port}")
    async with Proxy.running(
        {name: text for name, text in options.items() if text}, tmp_path / "log"
    ) as proxy:
        code, said = await run(*asked, "-flag=glaze", ADMIN_TOKEN=token)
        assert (code, last(said)) == (ExitCode.OK, "=> glaze: true = 'true' (default)"), said
        assert '"shift": "night"' in said
        code, said = await run(
            *asked, "-flag=glaze", '-attributes={"shift": "day"}', "-json", ADMIN_TOKEN=token
        )
        doc = json.loads(said)
        assert (doc["environment"]["id"], doc["outcome"]["variation"]) == (ENV, "true")
        assert doc["target"]["attributes"] == {"shift": "day"}
        code, said = await run(*asked, "-flag=glaz", ADMIN_TOKEN=token)
        assert code == ExitCode.BAD_CONFIGURATION
        assert "the environment has no flag 'glaz'" in said
        assert "glaze" in said.partition("'glaz'")[2]
        code, said = await run(*asked, "-flag=glaze", "-environment=nowhere", ADMIN_TOKEN=token)
        assert code == ExitCode.BAD_CONFIGURATION
        assert ENV in said
        if token:
            code, said = await run(*asked, "-flag=glaze", "-admin-token=wrong")
            assert code == ExitCode.CRASH
            assert "pass it as ADMIN_TOKEN or -admin-token" in said
        code, said = await run("explain", "-target=ada", f"-url={proxy.url}", "-flag=glaze")
        assert code == ExitCode.BAD_CONFIGURATION
        assert "is not an admin address" in said


async def test_one_place_is_asked(tmp_path: Path) -> None:
    """Neither none nor two."""
    for places in ((), (f"-config-dir={tmp_path}", "-url=http://127.0.0.1:1")):
        code, said = await run(*ASKED, *places)
        assert code == ExitCode.BAD_CONFIGURATION
        assert "name one place to look at: -config-dir, -data-dir, -redis-address or -url" in said
