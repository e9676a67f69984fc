"""The whole web side over a memory store, on a real socket; what lies above it is played by recorders."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from ipaddress import IPv4Network, IPv6Network
from itertools import repeat

from ff_proxy.api.access import Access, OpenAccess, TokenAccess
from ff_proxy.api.access_log import AccessLog
from ff_proxy.api.auth import Authenticator
from ff_proxy.api.auth_gate import ClosedGate, Issuer
from ff_proxy.api.evaluations import Evaluations
from ff_proxy.api.health import Health
from ff_proxy.api.key_lookup import KeyAttempts, KeyLookup
from ff_proxy.api.metrics_page import MetricsPage
from ff_proxy.api.ofrep import OfrepEvaluations
from ff_proxy.api.ofrep_streams import OfrepStreamRequests, StreamTickets
from ff_proxy.api.ofrep_usage import OfrepUsage
from ff_proxy.api.ports import AlwaysFresh, Freshness
from ff_proxy.api.reads import Reads
from ff_proxy.api.request_metrics import RequestMetrics
from ff_proxy.api.routes import API_PREFIX, make_routes
from ff_proxy.api.stream_requests import LOADING_SECONDS, StreamRequests
from ff_proxy.api.tokens import Tokens
from ff_proxy.api.usage_posts import UsagePosts
from ff_proxy.errors import RequestError
from ff_proxy.http.buffer_budget import BufferBudget
from ff_proxy.http.client_address import ClientAddresses
from ff_proxy.http.cors import Cors
from ff_proxy.http.dispatcher import Dispatcher
from ff_proxy.http.failure_limit import FailureLimit
from ff_proxy.http.limits import Limits
from ff_proxy.http.response_cache import ResponseCache
from ff_proxy.http.routes import Routes
from ff_proxy.http.server import HttpServer
from ff_proxy.http.server_state import ServerState
from ff_proxy.http.sockets import bind
from ff_proxy.http.tls import Tls
from ff_proxy.model.clock import Clock
from ff_proxy.model.environment import EnvironmentConfig
from ff_proxy.model.keys import EnvironmentId, KeyVerdict, SdkKey, Secret, hash_key
from ff_proxy.model.memory import LEAST_SHARES, MEBIBYTE, MemoryShares
from ff_proxy.model.readiness import Readiness
from ff_proxy.model.target import Target
from ff_proxy.runtime.clock import SystemClock
from ff_proxy.snapshots.environment_metrics import EnvironmentMetrics
from ff_proxy.snapshots.registry import SnapshotRegistry
from ff_proxy.snapshots.snapshot import CompileOptions
from ff_proxy.store.memory import MemoryStore
from ff_proxy.store.protocol import TargetStore
from ff_proxy.streams.hub import Hub
from ff_proxy.streams.list_reads import ListReads
from ff_proxy.telemetry import Telemetry, null_telemetry
from ff_proxy.usage.intake import CountSource, Intake
from tests.support.configs import ENVIRONMENT, KEY, hold
from tests.support.http import HOST, Response, Wire, connected_to, until

__all__ = ["HOST", "Response", "Site", "Wire", "ask", "connected", "message", "serving", "until"]

SECRET = Secret("secret")


class Keys:
    """A key checker with one answer for all; ``learn`` is written to the store before it is given."""

    def __init__(self, store: MemoryStore) -> None:
        self.verdict = KeyVerdict.REFUSED
        self.asked: list[SdkKey] = []
        self.learn: EnvironmentConfig | None = None
        self._store = store

    async def check(self, key: SdkKey) -> KeyVerdict:
        self.asked.append(key)
        if self.learn is not None:
            await self._store.configs.replace(self.learn)
        return self.verdict


class Registrars:
    """Remembers what was registered."""

    def __init__(self) -> None:
        self.registered: list[tuple[EnvironmentId, Target]] = []

    def register(self, environment: EnvironmentId, target: Target) -> None:
        self.registered.append((environment, target))


class Posts:
    """An intake that remembers bodies; ``unreadable`` makes it refuse them."""

    def __init__(self) -> None:
        self.bodies: list[tuple[EnvironmentId, bytes]] = []
        self.unreadable = False
        self.sources: list[CountSource] = []

    async def receive(self, environment: EnvironmentId, pieces: AsyncIterator[bytes]) -> None:
        body = b"".join([piece async for piece in pieces])
        if self.unreadable:
            raise RequestError(400, "the body is not readable JSON")
        self.bodies.append((environment, body))

    def pull(self, source: CountSource) -> Callable[[], None]:
        self.sources.append(source)
        return lambda: None


class Site:
    """Everything of one running web side; parts are public so that tests can reach behind the wire."""

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        bypass: bool = False,
        keyless: bool = False,
        shut: bool = False,
        origins: Collection[str] = ("*",),
        limits: Limits | None = None,
        max_body: int = 1024 * 1024,
        freshness: Freshness | None = None,
        targets: TargetStore | None = None,
        tls: Tls | None = None,
        port: int = 0,
        shares: MemoryShares = LEAST_SHARES,
        intake: Intake | None = None,
        base_path: str = "",
        bodies: int = 64 * MEBIBYTE,
        unsent: int = 64 * MEBIBYTE,
        loading: float = LOADING_SECONDS,
        remembers: bool = True,
        telemetry: Telemetry | None = None,
        access_log: AccessLog | None = None,
        limited: bool = False,
        signs: bool = True,
        failures: FailureLimit | None = None,
        trusted: Sequence[IPv4Network | IPv6Network] = (),
        metrics: bool = True,
    ) -> None:
        self.addresses = ClientAddresses(trusted)
        self.clock = clock or SystemClock()
        self.tls = tls
        self.telemetry: Telemetry = telemetry or null_telemetry()
        self.store = MemoryStore("life", self.clock, shares=shares)
        self.targets: TargetStore = targets or self.store.targets
        self.snapshots = SnapshotRegistry(self.store.configs, CompileOptions(), self.clock, self.telemetry)
        secret = SECRET if signs else None
        self.given_up: set[EnvironmentId] = set()
        self.tokens = Tokens(secret, self.clock, keyless=keyless, budget=shares.tokens, serials=repeat(7))
        self.keys = Keys(self.store)
        self.registrar = Registrars()
        self.posts = Posts()
        self.readiness = Readiness(loaded=1)
        self.environments: list[EnvironmentId] = [ENVIRONMENT]
        self.lists = ListReads(shares.events)
        self.hub = Hub(self.snapshots, self.lists, self.clock, self.telemetry, random.Random(1))
        fresh = freshness or AlwaysFresh()
        access: Access = TokenAccess(self.tokens, self.snapshots, lambda name: name in self.given_up)
        if bypass:
            access = OpenAccess(self.snapshots)
        issuer: Issuer = self.tokens
        if shut:
            access = issuer = ClosedGate()
        self.request_metrics = RequestMetrics(self.telemetry, self.snapshots, access_log)
        attempts = KeyAttempts(self.clock, budget=shares.keys, limited=limited)
        keys = KeyLookup(self.snapshots, self.keys, attempts)
        self.tickets = StreamTickets(self.tokens, self.clock)
        self.stream_requests = StreamRequests(access, fresh, self.hub, self.snapshots, loading=loading)
        self.environment_metrics = EnvironmentMetrics(
            self.snapshots, self.store.configs, self.clock, self.telemetry
        )
        self.routes = make_routes(
            Reads(
                access,
                self.targets,
                fresh,
                Evaluations(self.telemetry, budget=shares.evaluations),
                self.snapshots,
                self.lists,
                self.telemetry,
            ),
            Authenticator(issuer, keys, self.targets, self.registrar, self.telemetry),
            UsagePosts(access, fresh, intake or self.posts, self.telemetry),
            self.stream_requests,
            Health(
                lambda: self.environments,
                self.store.configs,
                lambda: self.readiness,
                lambda: self.state.draining,
                self.environment_metrics,
            ),
            OfrepEvaluations(
                keys,
                fresh,
                self.registrar,
                OfrepUsage(intake or self.posts, self.clock),
                self.tickets,
                self.telemetry,
                budget=shares.evaluations if remembers else 0,
            ),
            OfrepStreamRequests(self.tickets, self.snapshots, self.hub),
            self.snapshots,
            metrics=MetricsPage(self.telemetry.exposition, self.request_metrics.fold) if metrics else None,
        )
        dispatcher = Dispatcher(
            Routes(self.routes, (base_path, API_PREFIX)),
            ResponseCache(shares.responses if remembers else 0),
            Cors(origins),
            self.request_metrics,
            self.clock,
            self.telemetry,
            addresses=self.addresses,
            failures=failures,
            budget=shares.routes,
        )
        self.state = ServerState(
            dispatcher,
            limits or Limits(connections=10_000, body_bytes=max_body),
            BufferBudget(bodies),
            BufferBudget(unsent),
            self.clock,
            self.telemetry,
            addresses=self.addresses,
        )
        self.server = HttpServer(self.state, bind(port, HOST), self.clock, self.telemetry, tls=tls)

    @property
    def port(self) -> int:
        return self.server.port

    async def hold(self, *configs: EnvironmentConfig) -> None:
        """Write environments and have them served."""
        await hold(self.store, self.snapshots, *configs)

    def token(self, environment: EnvironmentId = ENVIRONMENT, key: str = KEY) -> str:
        """A token for ``key``, whether the environment knows it or not."""
        snapshot = self.snapshots.get(environment)
        assert snapshot is not None
        return self.tokens.issue(snapshot.info, hash_key(key))

    def bearer(self, environment: EnvironmentId = ENVIRONMENT, key: str = KEY) -> dict[str, str]:
        """The header that carries it."""
        return {"Authorization": f"Bearer {self.token(environment, key)}"}


@asynccontextmanager
async def serving(site: Site, *configs: EnvironmentConfig) -> AsyncIterator[Site]:
    """``site`` runs, holding ``configs``, for as long as the context lasts."""
    async with asyncio.TaskGroup() as group:
        running = [group.create_task(part.run()) for part in (site.snapshots, site.hub, site.server)]
        await site.snapshots.ready.wait()
        await site.server.ready.wait()
        await site.hold(*configs)
        try:
            yield site
        finally:
            for task in running:
                task.cancel()


def connected(site: Site) -> AbstractAsyncContextManager[Wire]:
    """A connection to ``site``."""
    return connected_to(site.port)


def message(method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> bytes:
    """A request as bytes."""
    fields = {"Host": "proxy", **(headers or {})}
    if body:
        fields["Content-Length"] = str(len(body))
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode("latin-1") + body


async def ask(
    site: Site, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b""
) -> Response:
    """One request on a connection of its own."""
    async with connected(site) as wire:
        await wire.send(message(method, path, headers, body))
        return await wire.response(head=method == "HEAD")
