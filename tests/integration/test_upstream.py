"""The upstream room against the sandbox, over real sockets: what SaaS may do, and what becomes of it."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from random import Random

import pytest

from ff_proxy.errors import UpstreamRefused, UpstreamUnavailable
from ff_proxy.model.environment import Domain, StreamState
from ff_proxy.model.keys import EnvironmentId, KeyVerdict, SdkKey, Secret
from ff_proxy.model.target import Target
from ff_proxy.runtime.clock import SystemClock
from ff_proxy.sandbox.faults import Fault
from ff_proxy.sandbox.keys import known_key
from ff_proxy.sandbox.running import RunningSandbox
from ff_proxy.sandbox.seed import default_environments
from ff_proxy.store.memory import MemoryStore
from ff_proxy.telemetry import null_telemetry
from ff_proxy.upstream.admin import AdminApi
from ff_proxy.upstream.client import ClientApi
from ff_proxy.upstream.context import Schedule, SyncIntervals, UpstreamContext
from ff_proxy.upstream.credentials import EnvironmentDirectory
from ff_proxy.upstream.http import HttpTransport
from ff_proxy.upstream.key_checks import KeyChecker
from ff_proxy.upstream.leadership import SoleLeader
from ff_proxy.upstream.posts import HarnessSink
from ff_proxy.upstream.responses import Caller
from ff_proxy.upstream.service import Upstream
from ff_proxy.upstream.snapshot_export import SnapshotExporter
from tests.integration.harness import sandbox
from tests.integration.sandbox_client import DEV, DEV_KEY, PROD, PROD_KEY
from tests.support.network import make_transport

DEVELOPMENT = EnvironmentId(DEV)
FAST = SyncIntervals(poll=0.3, keys=0.2, idle=1.0, refused=0.3, grace=0.2)
PATIENCE = 15.0


class Proxy:
    """Everything of the room, composed as the online mode composes it."""

    def __init__(self, saas: RunningSandbox, transport: HttpTransport, intervals: SyncIntervals) -> None:
        self.saas = saas
        clock, telemetry, directory = SystemClock(), null_telemetry(), EnvironmentDirectory()
        schedule = Schedule(clock, Random())
        caller = Caller(transport, telemetry)
        self.store = MemoryStore("test", clock)
        self.api = ClientApi(
            caller,
            client_service=saas.client_url,
            base_url=saas.client_url,
            metric_service=saas.client_url,
            version="0",
        )
        admin = AdminApi(
            caller,
            service=saas.admin_url,
            token=Secret(saas.state.admin_token),
            account=saas.state.account,
            organization="default",
        )
        self.service = Upstream(
            UpstreamContext(
                api=self.api,
                admin=admin,
                configs=self.store.configs,
                targets=self.store.targets,
                telemetry=telemetry,
                schedule=schedule,
                intervals=intervals,
            ),
            [SdkKey(DEV_KEY), SdkKey(PROD_KEY)],
            directory,
            SoleLeader(),
            served=lambda name: name in self.store.configs._environments,
        )
        self.checker = KeyChecker(self.api, self.service.accept, clock=clock, telemetry=telemetry)
        self.sink = HarnessSink(self.api, directory)
        self.collector = SnapshotExporter(api=self.api, admin=admin, telemetry=telemetry, schedule=schedule)

    async def ready(self) -> bool:
        """Whether everything is loaded."""
        return self.service.readiness().ready

    async def flag(self, identifier: str) -> bytes | None:
        """A flag of the development environment as the store holds it."""
        config = await self.store.configs.environment(DEVELOPMENT)
        item = None if config is None else config.flags.get(identifier)
        return None if item is None else item.wire

    async def contents(self) -> tuple[object, object]:
        """Flags and segments of the development environment."""
        config = await self.store.configs.environment(DEVELOPMENT)
        assert config is not None
        return config.flags, config.segments

    async def is_on(self, identifier: str = "dark_mode") -> bool:
        """Whether that flag is on."""
        return b'"state":"on"' in (await self.flag(identifier) or b"")

    async def is_off(self) -> bool:
        """Whether dark_mode is off."""
        return b'"state":"off"' in (await self.flag("dark_mode") or b"")

    async def state(self) -> StreamState:
        """The development environment's stream."""
        return (await self.store.configs.statuses())[DEVELOPMENT].state

    def turn(self, *, on: bool, announce: bool = True) -> None:
        """Turn dark_mode on or off in SaaS."""
        self.saas.state.flip(DEV, "dark_mode", state="on" if on else "off", announce=announce)


async def eventually(true: Callable[[], Awaitable[bool]]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(PATIENCE):
        while not await true():  # noqa: ASYNC110  (no event tells of most of what is waited for here)
            await asyncio.sleep(0.01)


@asynccontextmanager
async def upstream(intervals: SyncIntervals = FAST) -> AsyncIterator[Proxy]:
    """A running service before a sandbox; it is ready."""
    async with sandbox(*default_environments()) as saas, make_transport("ff-proxy/0") as transport:
        # A quarter of the silence that FAST takes for a failure.
        saas.state.settings.heartbeat_seconds = FAST.idle / 4
        proxy = Proxy(saas, transport, intervals)
        running = asyncio.create_task(proxy.service.run())
        try:
            await eventually(proxy.ready)
            yield proxy
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    """A service that is ready, dark_mode on."""
    async with upstream() as made:
        await made.saas.streams.until(lambda count: count == 2)
        made.turn(on=False)
        await eventually(made.is_off)
        made.turn(on=True)
        await eventually(made.is_on)
        yield made


async def connected(proxy: Proxy) -> bool:
    """The stream is up."""
    return await proxy.state() is StreamState.CONNECTED


async def disconnected(proxy: Proxy) -> bool:
    """The stream is down."""
    return await proxy.state() is StreamState.DISCONNECTED


async def test_everything_is_there(proxy: Proxy) -> None:
    """Flags, segments and keys of both environments."""
    for name in (DEV, PROD):
        held = await proxy.store.configs.environment(EnvironmentId(name))
        there = proxy.saas.state.find(name)
        assert held is not None
        assert set(held.flags) == set(there.flags)
        assert set(held.segments) == set(there.segments)
        assert held.keys == {key.hash for key in there.keys}
        assert held.info == there.info
    assert proxy.service.readiness().loaded == 2


async def test_changes_arrive_at_once(proxy: Proxy) -> None:
    """Within a fraction of the poll interval, through the stream."""
    took = []
    for on in (False, True) * 5:
        began = time.monotonic()
        proxy.turn(on=on)
        await eventually(proxy.is_on if on else proxy.is_off)
        took.append(time.monotonic() - began)
    assert sorted(took)[5] < 0.2


async def test_created_and_deleted(proxy: Proxy) -> None:
    """A flag that comes and goes."""
    flag = dict(proxy.saas.state.find(DEV).flags["dark_mode"]) | {"feature": "slash/and space"}
    proxy.saas.state.put(DEV, Domain.FLAG, flag)
    await eventually(lambda: proxy.is_on("slash/and space"))
    proxy.saas.state.drop(DEV, Domain.FLAG, "slash/and space")

    async def gone() -> bool:
        return await proxy.flag("slash/and space") is None

    await eventually(gone)


@pytest.mark.parametrize("how", ["eof", "reset"])
async def test_broken_stream(proxy: Proxy, how: str) -> None:
    """It comes back, and what it did not tell is found."""
    proxy.saas.streams.cut(how="reset" if how == "reset" else "eof")
    proxy.turn(on=False, announce=False)
    await eventually(proxy.is_off)
    await eventually(lambda: connected(proxy))


async def test_silent_stream(proxy: Proxy) -> None:
    """It counts as broken; changes come by polling until it speaks again."""
    proxy.saas.streams.mute()
    await eventually(lambda: disconnected(proxy))
    proxy.turn(on=False)
    await eventually(proxy.is_off)
    proxy.saas.streams.unmute()
    await eventually(lambda: connected(proxy))


async def test_saas_goes_down_and_comes_back(proxy: Proxy) -> None:
    """What is held is held, and what changed meanwhile is found."""
    proxy.saas.down()
    await eventually(lambda: disconnected(proxy))
    assert await proxy.is_on()
    assert proxy.service.readiness().ready
    assert proxy.service.readiness().degraded
    proxy.turn(on=False)
    await proxy.saas.up()
    await eventually(proxy.is_off)
    await eventually(lambda: connected(proxy))


@pytest.mark.parametrize(
    "fault",
    [
        Fault(route="flags", status=500),
        Fault(route="flags", status=404, body="html"),
        Fault(route="flags", status=200, body="html"),
        Fault(route="flags", status=200, body="garbage"),
        Fault(route="flags", status=200, body="empty"),
        Fault(route="flags", body="truncated"),
        Fault(route="segments", body="truncated"),
        Fault(route="flags", connection="reset"),
        Fault(route="flags", status=401),
    ],
    ids=lambda fault: f"{fault.route}-{fault.status}{fault.body}{fault.connection}",
)
async def test_bad_answers_change_nothing(proxy: Proxy, fault: Fault) -> None:
    """Neither flags nor segments; and the next good answer counts."""
    before = await proxy.contents()
    proxy.saas.faults.add(fault)
    seen = proxy.saas.journal.count(fault.route)
    proxy.saas.streams.cut()

    async def seen_often() -> bool:
        return proxy.saas.journal.count(fault.route) >= seen + 3

    await eventually(seen_often)
    assert await proxy.contents() == before
    proxy.turn(on=False, announce=False)
    proxy.saas.clear_faults()
    await eventually(proxy.is_off)


async def test_item_that_fails_once(proxy: Proxy) -> None:
    """The event is not lost."""
    proxy.saas.faults.add(Fault(route="flag", status=503, count=1))
    proxy.turn(on=False)
    await eventually(proxy.is_off)


async def test_burst_of_changes(proxy: Proxy) -> None:
    """The last of a hundred changes is what is held, and it did not take a hundred requests."""
    fetched = proxy.saas.journal.count("flag")
    for on in (True, False) * 50:
        proxy.turn(on=on)
    await eventually(proxy.is_off)
    version = proxy.saas.state.find(DEV).flags["dark_mode"]["version"]

    async def newest() -> bool:
        return f'"version":{version}'.encode() in (await proxy.flag("dark_mode") or b"")

    await eventually(newest)
    assert proxy.saas.journal.count("flag") - fetched < 50


async def test_revoked_key(proxy: Proxy) -> None:
    """Gone after two listings without it, on pages of two."""
    proxy.saas.state.settings.page_size_limit = 2
    environment = proxy.saas.state.find(DEV)
    environment.keys.append(known_key("third", "Client", "third-key"))
    environment.keys.append(known_key("fourth", "Client", "fourth-key"))

    async def held(key: str) -> bool:
        config = await proxy.store.configs.environment(DEVELOPMENT)
        return config is not None and SdkKey(key).hash in config.keys

    await eventually(lambda: held("fourth-key"))
    environment.revoke("third")

    async def gone() -> bool:
        return not await held("third-key")

    await eventually(gone)
    assert await held("fourth-key")


async def test_revoked_server_key(proxy: Proxy) -> None:
    """The environment is refused by SaaS, said so, and served on; the other is untouched."""
    proxy.saas.revoke(DEV, DEV_KEY)

    async def refused() -> bool:
        return (await proxy.store.configs.statuses())[DEVELOPMENT].refused

    await eventually(refused)
    assert proxy.service.readiness().ready
    assert await proxy.is_on()
    statuses = await proxy.store.configs.statuses()
    assert statuses[EnvironmentId(PROD)].state is StreamState.CONNECTED


async def test_wrong_admin_token(proxy: Proxy) -> None:
    """Degraded, with what is known."""
    proxy.saas.faults.add(Fault(route="admin-keys", status=401))

    async def degraded() -> bool:
        return any("admin-service-token" in reason for reason in proxy.service.readiness().degraded)

    await eventually(degraded)
    config = await proxy.store.configs.environment(DEVELOPMENT)
    assert config is not None
    assert len(config.keys) == len(proxy.saas.state.find(DEV).keys)


async def test_key_checks() -> None:
    """A key newer than the last listing works at once, a wrong one never, a storm does not reach SaaS."""
    async with upstream(SyncIntervals()) as proxy:
        asked = proxy.saas.journal.count("auth")
        proxy.saas.state.find(DEV).keys.append(known_key("new", "Client", "brand-new-key"))
        assert await proxy.checker.check(SdkKey("brand-new-key")) is KeyVerdict.ACCEPTED
        config = await proxy.store.configs.environment(DEVELOPMENT)
        assert config is not None
        assert SdkKey("brand-new-key").hash in config.keys
        verdicts = await asyncio.gather(*(proxy.checker.check(SdkKey(f"bad-{n % 300}")) for n in range(3000)))
        assert KeyVerdict.ACCEPTED not in verdicts
        assert proxy.saas.journal.count("auth") - asked < 50


async def test_usage_and_registration(proxy: Proxy) -> None:
    """Both arrive, and SaaS's errors come back as ours."""
    body = b'{"metricsData":[{"timestamp":1,"count":7,"metricsType":"FFMETRICS","attributes":[]}]}'
    await proxy.sink.send(DEVELOPMENT, body)
    assert sum(total.count for total in proxy.saas.usage.sums()) == 7
    await proxy.sink.register(DEVELOPMENT, Target("anna", attributes={"age": 7}))
    assert "anna" in proxy.saas.state.find(DEV).targets
    proxy.saas.state.settings.usage_body_limit = 10
    with pytest.raises(UpstreamRefused) as refused:
        await proxy.sink.send(DEVELOPMENT, body)
    assert refused.value.status == 413
    proxy.saas.down()
    with pytest.raises(UpstreamUnavailable):
        await proxy.sink.send(DEVELOPMENT, body)


async def test_polling_only() -> None:
    """flag-stream-enabled=false."""
    async with upstream(SyncIntervals(stream=False, poll=0.2)) as proxy:
        proxy.turn(on=False)
        await eventually(proxy.is_off)
        proxy.turn(on=True)
        await eventually(proxy.is_on)
        assert proxy.saas.journal.count("stream") == 0


async def test_targets_are_polled() -> None:
    """target-poll-duration above 0."""
    async with upstream(SyncIntervals(targets=0.2)) as proxy:
        proxy.saas.state.find(DEV).put_target({"identifier": "zoe", "attributes": {"age": 8}})

        async def stored() -> bool:
            target = await proxy.store.targets.get(DEVELOPMENT, "zoe")
            return target is not None and target.attributes == {"age": 8}

        await eventually(stored)


async def test_starts_before_saas_does() -> None:
    """And is ready once SaaS is there."""
    async with sandbox(*default_environments()) as saas, make_transport("ff-proxy/0") as transport:
        saas.down()
        proxy = Proxy(saas, transport, FAST)
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(proxy.service.run())

            async def tried() -> bool:
                pending = proxy.service.readiness().pending
                return len(pending) == 2 and "not tried yet" not in str(pending)

            await eventually(tried)
            await saas.up()
            await eventually(proxy.ready)
            running.cancel()


async def test_collecting(proxy: Proxy) -> None:
    """Everything that generate mode writes."""
    first, second = await proxy.collector.collect([SdkKey(PROD_KEY), SdkKey(DEV_KEY)])
    assert (first.config.id, second.config.id) == (DEV, PROD)
    assert set(first.config.flags) == set(proxy.saas.state.find(DEV).flags)
    assert {target.identifier for target in first.targets} == set(proxy.saas.state.find(DEV).targets)
    proxy.saas.faults.add(Fault(route="admin-targets", status=403, environment=PROD))
    with pytest.raises(UpstreamUnavailable, match=PROD):
        await proxy.collector.collect([SdkKey(PROD_KEY), SdkKey(DEV_KEY)])
