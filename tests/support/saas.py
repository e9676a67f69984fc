"""SaaS as a transport: no sockets, every answer, delay and failure in a test's hands."""

import asyncio
import base64
import json
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from ff_proxy.errors import UpstreamError, UpstreamUnavailable
from ff_proxy.model.keys import SdkKey, Secret
from ff_proxy.telemetry import Telemetry, null_telemetry
from ff_proxy.upstream.admin import AdminApi
from ff_proxy.upstream.client import ClientApi
from ff_proxy.upstream.responses import Caller
from ff_proxy.upstream.transport import OpenStream, Reply, Request

JSON = {"content-type": "application/json"}
HTML = Reply(200, {"content-type": "text/html"}, b"<html>please log in</html>")

ENV = "3ad4b1c8-31b7-4f5e-9a36-6b0f8f3c1f00"
KEY = SdkKey("b2a1e8f0-server-key")

Doc = dict[str, object]


def reply(doc: object, status: int = 200) -> Reply:
    """An answer in JSON."""
    return Reply(status, JSON, json.dumps(doc).encode())


def error(status: int) -> Reply:
    """An error as SaaS words it."""
    return reply({"code": str(status), "message": "no"}, status)


def flag_doc(identifier: str = "checkout", version: int = 1, **fields: object) -> Doc:
    """A boolean flag on the wire."""
    return {
        "feature": identifier,
        "project": "shop",
        "environment": "production",
        "kind": "boolean",
        "state": "on",
        "variations": [{"identifier": "true", "value": "true"}, {"identifier": "false", "value": "false"}],
        "defaultServe": {"variation": "true"},
        "offVariation": "false",
        "version": version,
    } | fields


def segment_doc(identifier: str = "beta", version: int = 1, **fields: object) -> Doc:
    """An empty target group on the wire."""
    return {"identifier": identifier, "name": identifier, "version": version} | fields


def token(environment: str, serial: int = 0, **claims: object) -> str:
    """A token as SaaS makes them; nobody can verify it here."""
    payload = {
        "environment": environment,
        "environmentIdentifier": "production",
        "project": "p-uuid",
        "projectIdentifier": "shop",
        "accountID": "acme",
        "clusterIdentifier": "2",
        "serial": serial,
    } | claims
    encoded = base64.urlsafe_b64encode(json.dumps(payload).encode()).decode().rstrip("=")
    return f"e30.{encoded}.c2ln"


@dataclass
class FakeEnvironment:
    """What SaaS holds of an environment."""

    flags: dict[str, Doc] = field(default_factory=dict)
    segments: dict[str, Doc] = field(default_factory=dict)
    hashes: list[str] = field(default_factory=list)
    targets: list[Doc] = field(default_factory=list)

    def put_flag(self, doc: Doc) -> None:
        self.flags[str(doc["feature"])] = doc

    def put_segment(self, doc: Doc) -> None:
        self.segments[str(doc["identifier"])] = doc


class FakeStream:
    """One open stream: a test says what comes, and when it breaks."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.status = 200
        self.headers: Mapping[str, str] = {"content-type": "text/event-stream"}
        self.closed = False
        self._coming: asyncio.Queue[bytes | UpstreamError | None] = asyncio.Queue()

    def say(self, text: str) -> None:
        """Bytes arrive."""
        self._coming.put_nowait(text.encode())

    def event(self, action: str, identifier: str, version: int, domain: str = "flag") -> None:
        """An event arrives as SaaS sends it."""
        data = json.dumps({"event": action, "domain": domain, "identifier": identifier, "version": version})
        self.say(f"event: *\ndata: {data}\n\n")

    def end(self, error: UpstreamError | None = None) -> None:
        """The far end closes, or ``error`` happens."""
        self._coming.put_nowait(error)

    async def chunks(self) -> AsyncIterator[bytes]:
        while True:
            coming = await self._coming.get()
            if coming is None:
                return
            if isinstance(coming, UpstreamError):
                raise coming
            yield coming


class FakeSaas:
    """Plays every service of SaaS. ``keys`` maps a raw key to its environment."""

    def __init__(self) -> None:
        self.keys: dict[str, str] = {}
        self.environments: dict[str, FakeEnvironment] = {}
        self.claims: Doc = {}
        self.requests: list[Request] = []
        self.usage: list[tuple[str, bytes]] = []
        self.streams: list[FakeStream] = []
        self.down = False
        self.streaming = True
        self.heartbeat = True
        self.next: dict[str, list[Reply | UpstreamError]] = defaultdict(list)
        self.always: dict[str, Reply | UpstreamError] = {}
        self.gates: dict[str, asyncio.Event] = {}
        self._serial = 0
        self._refused_tokens: set[str] = set()
        self._tokens: set[str] = set()

    def environment(self, name: str = ENV, *keys: SdkKey) -> FakeEnvironment:
        """An environment with its keys, hashed ones listed."""
        made = self.environments.setdefault(name, FakeEnvironment())
        for key in keys or (KEY,):
            self.keys[key.reveal()] = name
            made.hashes.append(key.hash)
        return made

    def expire_tokens(self) -> None:
        """Every token given out so far stops working."""
        self._refused_tokens |= self._tokens

    def count(self, route: str) -> int:
        """How many requests that route has seen."""
        return Counter(request.route for request in self.requests)[route]

    async def send(self, request: Request) -> Reply:
        self.requests.append(request)
        gate = self.gates.get(request.route)
        if gate is not None:
            await gate.wait()
        scripted = self._scripted(request)
        if isinstance(scripted, UpstreamError):
            raise scripted
        return scripted if scripted is not None else self._answer(request)

    @asynccontextmanager
    async def open(self, request: Request, idle: float) -> AsyncIterator[OpenStream]:
        assert idle > 0
        self.requests.append(request)
        scripted = self._scripted(request)
        if isinstance(scripted, UpstreamError):
            raise scripted
        stream = FakeStream(request)
        if scripted is None and not self._authorised(request):
            scripted = error(403)
        if scripted is not None:
            stream.status, stream.headers = scripted.status, scripted.headers
            stream.say(scripted.body.decode())
            stream.end()
            yield stream
            return
        if not self.streaming:
            raise UpstreamUnavailable("no stream")
        if self.heartbeat:
            stream.say(":\n\n")
        self.streams.append(stream)
        try:
            yield stream
        finally:
            stream.closed = True

    def _scripted(self, request: Request) -> Reply | UpstreamError | None:
        if self.down:
            return UpstreamUnavailable("connection refused")
        if self.next[request.route]:
            return self.next[request.route].pop(0)
        return self.always.get(request.route)

    def _authorised(self, request: Request) -> bool:
        sent = request.headers.get("Authorization", "").removeprefix("Bearer ")
        return sent in self._tokens - self._refused_tokens

    def _answer(self, request: Request) -> Reply:
        path = [unquote(part) for part in urlsplit(request.url).path.split("/")]
        if request.route == "/client/auth":
            return self._authenticate(request)
        if request.route.startswith("/admin/"):
            return self._page(request)
        if not self._authorised(request):
            return error(403)
        if request.route == "/metrics/{env}":
            self.usage.append((path[-1], request.body or b""))
            return reply({})
        kind = "feature-configs" if "/feature-configs" in request.route else "target-segments"
        environment = self.environments[path[path.index(kind) - 1]]
        held = environment.flags if kind == "feature-configs" else environment.segments
        if request.route.endswith("/{id}"):
            doc = held.get(path[-1])
            return error(404) if doc is None else reply(self._form(doc, request))
        return reply([self._form(doc, request) for doc in held.values()])

    @staticmethod
    def _form(doc: Doc, request: Request) -> Doc:
        if request.query.get("rules") == "v2" and doc.get("servingRules"):
            return {name: value for name, value in doc.items() if name != "rules"}
        return {name: value for name, value in doc.items() if name != "servingRules"}

    def _authenticate(self, request: Request) -> Reply:
        body = json.loads(request.body or b"")
        environment = self.keys.get(body["apiKey"])
        if environment is None:
            return error(403)
        self._serial += 1
        made = token(environment, self._serial, **self.claims)
        self._tokens.add(made)
        return reply({"authToken": made})

    def _page(self, request: Request) -> Reply:
        environment = next(iter(self.environments.values()))
        for name, candidate in self.environments.items():
            if name == request.environment:
                environment = candidate
        number, size = int(request.query["pageNumber"]), int(request.query["pageSize"])
        if request.route == "/admin/apikey":
            field_name = "apiKeys"
            listed: list[Doc] = [{"identifier": f"k{text[:8]}", "key": text} for text in environment.hashes]
        else:
            field_name = "targets"
            listed = list(environment.targets)
        page = listed[number * size : (number + 1) * size]
        return reply(
            {
                "itemCount": len(listed),
                "pageCount": -(-len(listed) // size),
                "pageIndex": number,
                "pageSize": size,
                field_name: page,
            }
        )


def client_api(saas: FakeSaas, telemetry: Telemetry | None = None) -> ClientApi:
    """The client API over ``saas``."""
    return ClientApi(
        Caller(saas, telemetry or null_telemetry()),
        client_service="http://client.test/api/1.0",
        base_url="http://config.test/api/1.0/",
        metric_service="http://events.test/api/1.0",
        version="9.9",
    )


def admin_api(saas: FakeSaas, max_pages: int = 1000) -> AdminApi:
    """The admin API over ``saas``."""
    return AdminApi(
        Caller(saas, null_telemetry()),
        service="http://admin.test/gateway/cf/",
        token=Secret("admin-token"),
        account="acme",
        organization="default",
        max_pages=max_pages,
    )
