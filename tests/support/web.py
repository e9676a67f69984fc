"""The whole web side over a memory store, on a real socket; what lies above it is played by recorders."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

import msgspec

from ff_proxy.errors import RequestError
from ff_proxy.model.clock import Clock
from ff_proxy.model.environment import EnvironmentConfig
from ff_proxy.model.keys import EnvironmentId, SdkKey, Secret, hash_key
from ff_proxy.model.memory import LEAST_SHARES, MemoryShares
from ff_proxy.model.readiness import Readiness
from ff_proxy.model.target import Target
from ff_proxy.model.verdict import KeyVerdict
from ff_proxy.runtime.clock import SystemClock
from ff_proxy.snapshots.registry import SnapshotRegistry
from ff_proxy.snapshots.snapshot import CompileOptions
from ff_proxy.store.memory import MemoryStore
from ff_proxy.store.protocol import TargetStore
from ff_proxy.telemetry import Telemetry, null_telemetry
from ff_proxy.usage.intake import Intake
from ff_proxy.web.access import Access, OpenAccess, TokenAccess
from ff_proxy.web.app import make_app
from ff_proxy.web.auth import Authenticator
from ff_proxy.web.bodies import Bodies
from ff_proxy.web.cors import Cors
from ff_proxy.web.counts import Counts
from ff_proxy.web.edge import Edge
from ff_proxy.web.entrance import Issuer, Shut
from ff_proxy.web.evaluations import Evaluations
from ff_proxy.web.health import Gate, Health
from ff_proxy.web.hub import Hub
from ff_proxy.web.limits import Limits
from ff_proxy.web.needs import AlwaysFresh, Freshness
from ff_proxy.web.resources import Resources
from ff_proxy.web.server import Listener, bind
from ff_proxy.web.tls import Tls
from ff_proxy.web.tokens import Tokens
from ff_proxy.web.usage_posts import UsagePosts
from tests.support.configs import ENVIRONMENT, KEY

SECRET = Secret("secret")
HOST = "127.0.0.1"


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

    async def take(self, environment: EnvironmentId, pieces: AsyncIterator[bytes]) -> None:
        body = b"".join([piece async for piece in pieces])
        if self.unreadable:
            raise RequestError(400, "the body is not readable JSON")
        self.bodies.append((environment, body))


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
    ) -> None:
        self.clock = clock or SystemClock()
        self.tls = tls
        self.telemetry: Telemetry = null_telemetry()
        self.store = MemoryStore("life", self.clock, shares=shares)
        self.targets: TargetStore = targets or self.store.targets
        self.snapshots = SnapshotRegistry(self.store.configs, CompileOptions(), self.clock, self.telemetry)
        self.tokens = Tokens(SECRET, self.clock, keyless=keyless, budget=shares.tokens)
        self.keys = Keys(self.store)
        self.registrar = Registrars()
        self.posts = Posts()
        self.readiness = Readiness(loaded=1)
        self.environments: list[EnvironmentId] = [ENVIRONMENT]
        self.gate = Gate()
        self.hub = Hub(self.snapshots, self.clock, self.telemetry, random.Random(1))
        fresh = freshness or AlwaysFresh()
        access: Access = OpenAccess(self.snapshots) if bypass else TokenAccess(self.tokens, self.snapshots)
        issuer: Issuer = self.tokens
        if shut:
            access = issuer = Shut()
        bodies = Bodies(max_body)
        counts = Counts(self.telemetry, self.snapshots)
        cors = Cors(origins)
        evaluations = Evaluations(self.telemetry, budget=shares.evaluations)
        self.resources = Resources(access, self.targets, fresh, evaluations, self.telemetry)
        app = make_app(
            self.resources,
            Authenticator(
                issuer, self.snapshots, self.keys, self.targets, self.registrar, bodies, self.telemetry
            ),
            UsagePosts(access, fresh, intake or self.posts, bodies, self.telemetry),
            Health(
                lambda: self.environments,
                self.store.configs,
                lambda: self.readiness,
                self.gate,
                counts,
                self.telemetry,
            ),
            cors,
            counts,
            self.clock,
            self.telemetry,
        )
        self.edge = Edge(
            self.resources,
            access,
            fresh,
            self.hub,
            app,
            cors,
            counts,
            self.snapshots,
            self.clock,
            self.telemetry,
            limits or Limits(connections=10_000),
            shares,
        )
        self.listener = Listener(self.edge, bind(port, HOST), self.gate, self.clock, self.telemetry, tls=tls)

    @property
    def port(self) -> int:
        return self.listener.port

    async def hold(self, *configs: EnvironmentConfig) -> None:
        """Write environments and have them served."""
        for config in configs:
            await self.store.configs.replace(config)
        await self.snapshots.resync()

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
        running = [group.create_task(part.run()) for part in (site.snapshots, site.hub, site.listener)]
        await site.snapshots.ready.wait()
        await site.listener.ready.wait()
        await site.hold(*configs)
        try:
            yield site
        finally:
            for task in running:
                task.cancel()


class Response(msgspec.Struct, frozen=True):
    """A response as it came over the wire; ``raw`` is all of it."""

    status: int
    fields: tuple[tuple[str, str], ...]
    body: bytes
    raw: bytes

    def field(self, name: str) -> str | None:
        """The values of a header field, joined, or ``None``."""
        values = [value for held, value in self.fields if held == name]
        return ", ".join(values) if values else None

    def json(self) -> Any:
        """The body as JSON."""
        return msgspec.json.decode(self.body)

    @property
    def undated(self) -> bytes:
        """``raw`` without its date."""
        lines = self.raw.split(b"\r\n")
        return b"\r\n".join(line for line in lines if not line.startswith(b"date: "))


class Wire:
    """One connection, spoken to in bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    def stop_reading(self) -> None:
        """Let the other side's bytes pile up."""
        self._transport.pause_reading()

    def go_on_reading(self) -> None:
        """Take them again."""
        self._transport.resume_reading()

    @property
    def _transport(self) -> asyncio.Transport:
        return cast("asyncio.Transport", self.writer.transport)

    async def response(self, *, head: bool = False) -> Response:
        """The next response; ``head`` says that it has no body whatever its length."""
        raw = await self.reader.readuntil(b"\r\n\r\n")
        line, *lines = raw.decode("latin-1").split("\r\n")[:-2]
        fields = tuple((name, value) for name, _, value in (text.partition(": ") for text in lines))
        status = int(line.split(" ")[1])
        lengths = [value for name, value in fields if name == "content-length"]
        body = b""
        if lengths and not head and status != 304:
            body = await self.reader.readexactly(int(lengths[0]))
        return Response(status, fields, body, raw + body)

    async def closed(self) -> bytes:
        """Whatever comes until the other side closes, or resets the connection."""
        received = b""
        with suppress(ConnectionResetError):
            while part := await self.reader.read(65536):
                received += part
        return received


@asynccontextmanager
async def connected(site: Site) -> AsyncIterator[Wire]:
    """A connection to ``site``."""
    reader, writer = await asyncio.open_connection(HOST, site.port)
    try:
        yield Wire(reader, writer)
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


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


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that a server does in its own time."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110  (what happens behind a socket sets no event)
            await asyncio.sleep(0.01)
