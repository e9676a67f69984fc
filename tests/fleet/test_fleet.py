"""Two members and a replica on one Redis: whatever one of them was told, all of them know."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio

from ff_proxy.sandbox.keys import known_key
from tests.integration.harness import Proxy
from tests.sdk.client import SdkClient, SdkOptions
from tests.sdk.openfeature_client import Language, OpenFeatureClient, languages
from tests.sdk.prepare import missing_tools, prepare
from tests.sdk.sdks import NODEJS, PYTHON, Sdk, launcher
from tests.support.fleet import TICK, WAYS, Fleet, Witness, counted, fleet, posted
from tests.support.log_scan import scan
from tests.support.redis_server import redis_server
from tests.support.sdk_like import DEV, KEYS, SdkLike, eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

ENGLISH = {"identifier": "zed", "attributes": {"country": "GB"}}
GERMAN = {"identifier": "zed", "attributes": {"country": "DE"}}
TICKS = 60


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fleet]:
    """One fleet for the module: nothing here breaks it."""
    place = tmp_path_factory.mktemp("fleet")
    with redis_server(place / "redis") as redis:
        # One of them is several processes.
        async with fleet(place, f"127.0.0.1:{redis.port}", two={"workers": "2"}) as started:
            yield started
    scan(place)


@pytest_asyncio.fixture(loop_scope="module")
async def clients(running: Fleet) -> AsyncIterator[list[SdkLike]]:
    """One at each member."""
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(SdkLike.connected(proxy.url, KEYS[DEV]))
            for proxy in running.members
        ]


async def test_one_member_is_connected_to_saas(running: Fleet) -> None:
    """For each environment; and all say that they are well."""
    assert running.saas.streams.count() == len(KEYS)
    assert await running.leader() in {running.one, running.two}
    for proxy in running.members:
        async with SdkLike.connected(proxy.url, KEYS[DEV]) as client:

            async def well(client: SdkLike = client) -> bool:
                told = (await client.http.get("/health/ready")).json()
                return (told["status"], told["reasons"]) == ("ready", [])

            await eventually(well)
            health = (await client.http.get("/health")).json()
            assert {one["streamStatus"]["state"] for one in health["environments"]} == {"CONNECTED"}


async def test_tokens_and_targets_are_everybodys(clients: list[SdkLike]) -> None:
    """A target is evaluated everywhere as it was described last, wherever that was."""
    for teller in clients:
        for target, currency in ((GERMAN, "EUR"), (ENGLISH, "USD")):
            await teller.authenticate(target)
            for client in clients:
                client.token = teller.token
                assert currency in await client.value("price_display", "zed")


async def test_a_new_key_works_at_every_member(running: Fleet) -> None:
    """Those that do not lead have it taken in by the one that does; a replica knows it from then on."""
    added = known_key("second", "Server", "brand-new-server-key")
    running.saas.state.find(DEV).keys.append(added)
    leader = await running.leader()
    assert leader is not None
    follower = next(proxy for proxy in (running.one, running.two) if proxy is not leader)
    for proxy in (follower, leader, running.replica):
        async with SdkLike.connected(proxy.url, added.text) as newcomer:
            assert newcomer.environment == DEV


async def test_no_member_goes_backwards(running: Fleet, clients: list[SdkLike]) -> None:
    """Told of a change by one member, an SDK finds it at every other, however it asks.

    See spec/behaviour#read-your-writes.
    """
    witness = Witness()
    chance = random.Random(6)
    behind: list[str] = []

    async def listen(client: SdkLike, stack: AsyncExitStack) -> None:
        stream = await stack.enter_async_context(client.stream())
        while witness.newest < last:
            event = await stream.event()
            if event["identifier"] != TICK:
                continue
            other = chance.choice(clients)
            found = await other.get(f"/feature-configs/{TICK}")
            if found.json()["version"] < event["version"]:
                behind.append(f"{other.url}: {found.json()['version']} after an event of {event['version']}")
            for way in WAYS:
                await witness.read(chance.choice(clients), way)

    running.ticker.tick()
    for client in clients:
        # A change has been noticed by every member: from now on bulk reads are checked as well.
        await eventually(lambda client=client: _has(client, running.ticker.number))
    last = running.ticker.number + TICKS
    async with asyncio.timeout(25), AsyncExitStack() as stack:
        listening = [asyncio.create_task(listen(client, stack)) for client in clients * 2]
        while running.ticker.number < last:
            running.ticker.tick()
            await asyncio.sleep(0.03)
        await asyncio.gather(*listening)
    late = await running.late_checks()
    assert len(behind) + len(witness.wrong) <= late, (behind, witness.wrong)
    for client in clients:
        assert {await witness.read(client, way) for way in WAYS} == {last}


async def test_usage_posted_anywhere_arrives_once(running: Fleet, clients: list[SdkLike]) -> None:
    """Merged in Redis, sent by the member that leads."""
    running.saas.usage.reset()
    for _ in range(20):
        for client in clients:
            assert (await client.post_usage("dark_mode", 2)).status_code == 200
    await eventually(lambda: posted(running.saas, "dark_mode", 120))
    rounds = running.saas.usage.received
    await clients[0].post_usage("one_click_payment", 1)
    await eventually(lambda: posted(running.saas, "one_click_payment", 1))
    assert running.saas.usage.received > rounds, "another round was sent"
    assert counted(running.saas, "dark_mode") == 120


@pytest.mark.timeout(120)  # on a new machine the packages of the SDKs are installed first
async def test_real_sdks_at_different_members(
    running: Fleet, clients: list[SdkLike], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """They see each other's flips at once, and SaaS gets exactly what they counted."""
    missing = missing_tools(NODEJS.name)
    if missing:
        pytest.skip(f"this machine lacks {', '.join(missing)}")
    await asyncio.to_thread(prepare, [PYTHON.name, NODEJS.name])
    running.saas.usage.reset()
    somebody = {"identifier": "somebody", "name": "Somebody"}
    placed: list[tuple[str, Sdk, str]] = [
        ("python-one", PYTHON, running.one.url),
        ("node-two", NODEJS, running.two.url),
        ("python-replica", PYTHON, running.replica.url),
        ("node-replica", NODEJS, running.replica.url),
    ]
    async with (
        launcher([PYTHON, NODEJS], tmp_path_factory.mktemp("sdks")) as start,
        AsyncExitStack() as stack,
    ):

        async def opened(name: str, sdk: Sdk, url: str) -> SdkClient:
            options = SdkOptions(KEYS[DEV], url, url, somebody)
            return await stack.enter_async_context(start.client(sdk, name, options))

        sdks = [await opened(*place) for place in placed]
        for sdk in sdks:
            assert await sdk.initialised(within=30)
            await sdk.heard("streaming", within=30)
        for _ in range(3):
            new = str(running.ticker.tick())
            await asyncio.gather(
                *(sdk.until("string", TICK, somebody, "none", expected=new, within=15) for sdk in sdks)
            )
        for sdk in sdks:
            for _ in range(5):
                assert await sdk.variation("boolean", "dark_mode", somebody, default=False) is not None
    # Closed, each has posted what it counted.
    await eventually(lambda: posted(running.saas, "dark_mode", 5 * len(placed)))
    await clients[0].post_usage("new_search", 1)
    await eventually(lambda: posted(running.saas, "new_search", 1))
    assert counted(running.saas, "dark_mode") == 5 * len(placed)


@pytest.mark.timeout(120)  # on a new machine the packages of the providers are installed first
@pytest.mark.parametrize("language", languages())
async def test_openfeature_clients_at_different_members(
    language: Language, running: Fleet, tmp_path: Path
) -> None:
    """A flip that one member has written is seen at every other."""
    async with AsyncExitStack() as stack:
        applications = [
            await stack.enter_async_context(
                OpenFeatureClient.running(language, proxy.url, KEYS[DEV], tmp_path)
            )
            for proxy in running.members
        ]
        for _ in range(3):
            new = str(running.ticker.tick())
            for application in applications:
                await application.until("string", TICK, "none", new, targetingKey="somebody")


async def test_all_say_when_harness_is_away(running: Fleet) -> None:
    """Who leads cannot reach it, and so everybody is degraded; all are well by themselves afterwards."""
    for down, status, reason in ((True, "degraded", DEV), (False, "ready", "")):
        if down:
            running.saas.down()
        else:
            await running.saas.up()
        for proxy in running.members:
            await eventually(
                lambda proxy=proxy, status=status, reason=reason: _says(proxy, status, reason), 25
            )


async def _has(client: SdkLike, number: int) -> bool:
    return await WAYS["evaluated"](client) == number


async def _says(proxy: Proxy, status: str, reason: str) -> bool:
    async with SdkLike(proxy.url, "none").http as http:
        answer = await http.get("/health/ready")
    assert answer.status_code == 200
    told = answer.json()
    return bool(told["status"] == status and reason in str(told["reasons"]))
