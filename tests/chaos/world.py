"""A proxy in one of the forms in which people run it, with every link of it in the driver's hands."""

import asyncio
import random
import re
import resource
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

import msgspec
from redis import Redis
from redis.exceptions import RedisError

from ff_proxy.sandbox.running import RunningSandbox
from ff_proxy.sandbox.seed import default_environments
from tests.chaos.truth import Truth
from tests.integration.harness import Proxy, ProxyError, online_options, sandbox
from tests.support.local_http import local_http
from tests.support.log_scan import faults_of
from tests.support.metrics import metric_sum
from tests.support.redis_server import RedisServer, redis_cluster, redis_sentinel, redis_server
from tests.support.relay import Relay
from tests.support.sdk_like import KEYS
from tests.support.workers import alive, pids

_QUICK: Final = {
    "flag-poll-interval": "1",
    "api-key-refresh-interval": "5",
    "shutdown-delay": "0",
    "metric-post-duration": "1",
}
_READY_WITHIN: Final = 40.0
# How users name what they post.
_POSTED: Final = re.compile(r"posted-\w+-\w+-\d+")
_TEARING: Final = 3.0


class Form(StrEnum):
    """How the proxy is run."""

    MEMORY = "memory"
    SQLITE = "sqlite"
    WORKERS = "workers"
    OFFLINE = "offline"
    REDIS = "redis"
    CLUSTER = "cluster"
    SENTINEL = "sentinel"

    @property
    def fleet(self) -> bool:
        """Whether several members share a Redis."""
        return self in {Form.REDIS, Form.CLUSTER, Form.SENTINEL}


class Member:
    """One proxy that is killed, stopped and started again.

    Attributes:
        life: which of its lives this is; 0 while it is not ready, and its clients hold nothing against it.
        to_saas: its way to Harness.
        to_redis: its way to a single Redis, if it has one.
        forgiven: whether what it kept may be older than what it served, or unreadable: its store is or was in
            trouble since everything was in order last.
    """

    def __init__(self, name: str, proxy: Proxy, to_saas: Relay, to_redis: Relay | None) -> None:
        self.name = name
        self.proxy = proxy
        self.to_saas = to_saas
        self.to_redis = to_redis
        self.life = 0
        self.forgiven = False
        self.deaths = 0
        self._lives = 0

    @property
    def url(self) -> str:
        """Where it serves."""
        return self.proxy.url

    @property
    def pid(self) -> int:
        """Of the process that was started: the only one, or the supervisor."""
        return self.proxy.pid

    def ended(self) -> int | None:
        """The exit code of a process that has ended by itself."""
        process = self.proxy._process
        return None if process is None else process.returncode

    def log(self) -> str:
        """What it has logged in all its lives."""
        return self.proxy.log.read_text(encoding="utf-8", errors="replace")

    def processes(self) -> list[int]:
        """The ids of all its processes that run."""
        return [pid for pid in (self.pid, *pids(self.proxy).values()) if alive(pid)]

    async def kill(self) -> None:
        """``kill -9``; with workers, of the supervisor."""
        self.life = 0
        self.deaths += 1
        children = pids(self.proxy).values()
        await self.proxy.kill()
        async with asyncio.timeout(20):
            while any(map(alive, children)):  # noqa: ASYNC110  (another process tells nobody)
                await asyncio.sleep(0.05)

    async def stop(self) -> None:
        """End in order, which must go well."""
        self.life = 0
        self.deaths += 1
        await self.proxy.stop()

    async def rise(self) -> None:
        """Start it, and wait until it is ready."""
        await self.proxy.launch()
        async with asyncio.timeout(_READY_WITHIN):
            while True:
                with suppress(ProxyError):
                    await self.proxy.until_ready()
                    break
                assert self.ended() is None, f"{self.name} ended at its start: {self.proxy.last_words()}"
        self._live()

    async def wake(self) -> None:
        """After it was frozen: wait until it answers again."""
        deaths = self.deaths
        await self.proxy.until_ready()
        if deaths == self.deaths:
            self._live()

    def _live(self) -> None:
        self._lives += 1
        self.life = self._lives


class Usage(msgspec.Struct, frozen=True):
    """What processes have of memory (bytes) and files."""

    memory: int
    files: int

    def exceeds(self, before: "Usage", growth: "Usage") -> bool:
        """Whether it is more than ``before`` by more than ``growth``."""
        return self.memory > before.memory + growth.memory or self.files > before.files + growth.files


class World:
    """Harness, a store, members, and what has happened to them.

    Attributes:
        redis: the servers of the store, in the form's order (Sentinel: primary and replica).
        rising: members that are being started, or wake.
        data: the data directory, or the one that is served offline, if there is one.
        publishing: whether changes are written to the directory that is served offline.
    """

    def __init__(self, form: Form, saas: RunningSandbox, members: Sequence[Member], place: Path) -> None:
        self.form: Final = form
        self.saas: Final = saas
        self.members: Final = members
        self.publishing = False
        self.truth: Final = Truth(saas, self.publish)
        self.place: Final = place
        self.redis: list[RedisServer] = []
        self.rising: list[asyncio.Task[None]] = []
        self._torn = -_TEARING
        self.data: Path | None = None

    def pick(self, chance: random.Random) -> Member:
        """One of the members."""
        return chance.choice(self.members)

    def publish(self) -> None:
        """Write the flags that are true now to the directory that is served offline."""
        if self.publishing and self.data is not None:
            for name, environment in self.saas.state.environments.items():
                for file in self.data.glob(f"env-{name}/feature_config.json"):
                    beside = file.with_suffix(".new")
                    beside.write_bytes(msgspec.json.encode(list(environment.flags.values())))
                    beside.replace(file)

    def tear(self) -> None:
        """A process of a member is about to be killed, and connections with it."""
        self._torn = time.monotonic()

    def torn(self) -> bool:
        """Whether a connection that ends now may have been one of a process that was killed."""
        return time.monotonic() - self._torn < _TEARING

    def resources(self) -> Usage:
        """What all processes of all members have together."""
        memory = files = 0
        for member in self.members:
            for pid in member.processes():
                with suppress(OSError):
                    found = dict(
                        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
                    )
                    memory += int(found["RssAnon"].split()[0]) * 1024
                    files += sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
        return Usage(memory, files)

    async def trouble(self) -> str:
        """What no run may end with: a member that has ended, has failed, or logs what is forbidden."""
        for member in self.members:
            if member.ended() is not None:
                return f"{member.name} ended with {member.ended()}: {member.proxy.last_words()}"
            if failures := await figure(member.url, "ff_proxy_service_failures_total"):
                return (
                    f"{member.name} has had {failures:.0f} unexpected failures: {member.proxy.last_words()}"
                )
            if found := faults_of(member.log()):
                return f"the log of {member.name} holds {found[:3]}"
        return ""

    def waiting_usage(self) -> set[str]:
        """The flags of counts that wait in Redis, or that somebody took there and never settled."""
        found: set[str] = set()
        for server in self.redis:
            with Redis(port=server.port, decode_responses=True) as client, suppress(RedisError):
                for key in client.scan_iter("*:usage:*"):
                    if client.type(key) == "hash":
                        for field in client.hgetall(key):
                            found.update(_POSTED.findall(field))
        return found

    @contextmanager
    def full_disk(self) -> Iterator[None]:
        """Nothing that any process writes to a file finds room."""
        held = [pid for member in self.members for pid in member.processes()]
        for pid in held:
            with suppress(ProcessLookupError):
                _, most = resource.prlimit(pid, resource.RLIMIT_FSIZE)
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, most))
        try:
            yield
        finally:
            for pid in held:
                with suppress(ProcessLookupError):
                    _, most = resource.prlimit(pid, resource.RLIMIT_FSIZE)
                    resource.prlimit(pid, resource.RLIMIT_FSIZE, (most, most))


async def readiness(url: str) -> tuple[int, str, list[str]]:
    """Status, state and reasons."""
    async with local_http(timeout=10.0) as http:
        answer = await http.get(f"{url}/health/ready")
    told = answer.json()
    return answer.status_code, told["status"], list(told["reasons"])


async def times_held(made: World) -> int:
    """How often work has held the event loop of a member for more than 50 ms of processor time."""
    return int(sum([await figure(member.url, "ff_proxy_event_loop_held_total") for member in made.members]))


async def figure(url: str, name: str) -> float:
    """The sum of a figure over its labels."""
    async with local_http(timeout=10.0) as http:
        text = (await http.get(f"{url}/metrics")).text
    return metric_sum(text, name)


@asynccontextmanager
async def world(
    form: Form, place: Path, seed: int, options: Mapping[str, str] = MappingProxyType({})
) -> AsyncIterator[World]:
    """Everything started and ready; every process that is left is reaped in the end.

    Args:
        form: how it is run.
        place: a directory for logs and data.
        seed: of what the relays corrupt.
        options: of members, beside those that the form needs.
    """
    async with AsyncExitStack() as stack:
        saas = await stack.enter_async_context(sandbox(*default_environments()))
        servers, kept = await _store(form, place, stack)
        names = ("one", "two", "replica") if form.fleet else ("one",)
        members = []
        for index, name in enumerate(names):
            to_saas = await stack.enter_async_context(Relay.to(_port(saas.url), seed + index))
            to_redis = None
            chosen = _through(online_options(saas, KEYS.values()), _port(saas.url), to_saas.port) | _QUICK
            if name == "replica":
                chosen = {"read-replica": "true", "shutdown-delay": "0"}
            if form is Form.OFFLINE:
                chosen |= {"generate-offline-config": "true"}
            if form is Form.REDIS:
                to_redis = await stack.enter_async_context(Relay.to(servers[0].port, seed - index))
                chosen["redis-address"] = f"127.0.0.1:{to_redis.port}"
            proxy = Proxy({**chosen, **kept, **options}, place / f"{name}.log")
            stack.push_async_callback(proxy.kill)
            members.append(Member(name, proxy, to_saas, to_redis))
        made = World(form, saas, members, place)
        made.redis = servers
        if form is Form.OFFLINE:
            await _generated(members[0], kept)
            made.data, made.publishing = Path(kept["config-dir"]), True
            made.publish()
        made.data = Path(kept["data-dir"]) if "data-dir" in kept else made.data
        await asyncio.gather(*(member.rise() for member in members))
        yield made
        await asyncio.gather(*(member.stop() for member in members))


async def _generated(member: Member, options: Mapping[str, str]) -> None:
    """Let a member write the directory, and from then on serve from it."""
    (member.proxy.log.parent / "config").mkdir()
    await member.proxy.launch()
    process = member.proxy._process
    assert process is not None
    async with asyncio.timeout(_READY_WITHIN):
        assert await process.wait() == 0, member.proxy.last_words()
    own = {"admin-address": "off", "shutdown-delay": "0", "port": str(member.proxy.port)}
    member.proxy._options = {**own, **options, "offline": "true"}


async def _store(form: Form, place: Path, stack: AsyncExitStack) -> tuple[list[RedisServer], dict[str, str]]:
    if form is Form.REDIS:
        return [await asyncio.to_thread(stack.enter_context, redis_server(place / "redis"))], {}
    if form is Form.CLUSTER:
        nodes = await asyncio.to_thread(stack.enter_context, redis_cluster(place / "redis"))
        return nodes, {"redis-address": f"127.0.0.1:{nodes[0].port},127.0.0.1:{nodes[1].port}"}
    if form is Form.SENTINEL:
        primary, replica, port = await asyncio.to_thread(stack.enter_context, redis_sentinel(place / "redis"))
        return [primary, replica], {"redis-address": f"redis+sentinel://127.0.0.1:{port}/main"}
    if form is Form.MEMORY:
        return [], {}
    if form is Form.OFFLINE:
        return [], {"config-dir": str(place / "config")}
    kept = {"data-dir": str(place / "data")}
    return [], kept | ({"workers": "2"} if form is Form.WORKERS else {})


def _port(url: str) -> int:
    port = urlsplit(url).port
    assert port is not None
    return port


def _through(options: Mapping[str, str], port: int, relay: int) -> dict[str, str]:
    return {name: text.replace(f":{port}/", f":{relay}/") for name, text in options.items()}
