"""What connections cost: requests on new ones, streams, heartbeats, TLS; and how many bytes they carry."""

import http.client
import socket
import ssl
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from bench.common.crowd import crowd
from bench.common.environments import Made
from bench.common.figures import Figure
from bench.common.http import expect, metric
from bench.common.plan import BenchError, Plan
from bench.common.processes import HOST, Server, raise_file_limit
from bench.common.results import Column, Row, Table
from bench.common.site import Site, proxy, site
from bench.common.wrk import Request, load
from tests.support.certificates import make_certificate

_MADE = Made("connections", 100)
_SIZES = (10, 100, 1000)
_PERIOD = 14.0
"""Seconds between two heartbeats of a stream."""
_APART = 0.0005
"""Seconds between two streams that are opened: longer than one takes, so that none waits for another."""
_SECRET = "of both proxies"
_LONG = 10.0

_ABOUT = (
    "Microseconds of CPU of the proxy's process, and kilobytes that stay in its memory. A request is a GET of"
    " one flag. Streams are opened one after another, or all at once, of which the process makes less work;"
    " heartbeats are those of streams on which nothing happens, less what the process uses without any."
)
_COLUMNS = (Column("CPU µs", 1, spread=True), Column("kB", 2))
_ABOUT_BYTES = "What the proxy sends: bodies of bulk reads, and an event with its HTTP chunk."


def measure(plan: Plan) -> Iterator[Table]:
    """Both tables; raises ``BenchError`` if a stream does not open."""
    most = raise_file_limit() // 2
    sizes = [Made(f"sized-{size}", size) for size in _SIZES]
    with site([_MADE, *sizes], auth_secret=_SECRET) as own:
        rows = [*_requests(own, plan), *_streams(own, plan, most)]
        bodies = [*_bodies(own, sizes), _event(own)]
        rows += _encrypted(own, plan)
    yield Table("Connections", _ABOUT, _COLUMNS, tuple(rows))
    yield Table("Bytes", _ABOUT_BYTES, (Column("bytes"), Column("gzip")), tuple(bodies))


def until_streams(server: Server, wanted: int) -> None:
    """Wait until a proxy has that many streams open; raises ``BenchError`` after ten seconds."""
    end = time.monotonic() + _LONG
    while (found := metric(server.port, "ff_proxy_sdk_streams{")) != wanted:
        if time.monotonic() > end:
            raise BenchError(f"{server.name} has {found} streams open, not {wanted}")
        time.sleep(0.02)


def _requests(own: Site, plan: Plan) -> Iterator[Row]:
    path = f"/client/env/{_MADE.id}/feature-configs/feature-1"
    ways: tuple[tuple[str, dict[str, str]], ...] = (
        ("request, connection kept", {}),
        ("request, new connection", {"Connection": "close"}),
    )
    # Before there was any load, whose memory would be used again.
    held, count = own.proxy.resident(), plan.pick(4000, 100)
    delays = [number * _APART for number in range(count)]
    with crowd(own.proxy.port, own.raw(_MADE, path, {}), delays, until=b"\r\n\r\n"):
        kept: Figure | None = Figure.of([(own.proxy.resident() - held) / count])
    origin = {"Origin": "https://app.example", "Access-Control-Request-Method": "GET"}
    origin["Access-Control-Request-Headers"] = "authorization,harness-sdk-info,harness-target"
    asks = [(label, Request(path, own.bearer(_MADE) | more)) for label, more in ways]
    asks.append(("preflight of a browser", Request(path, origin, "OPTIONS")))
    for label, asked in asks:
        runs = [load(own.proxy, asked, quick=plan.quick) for _ in range(plan.pick(5, 1))]
        yield Row(label, (Figure.of(1e6 / run.per_cpu for run in runs), kept))
        kept = None


def _streams(own: Site, plan: Plan, most: int) -> Iterator[Row]:
    count, seconds = plan.pick((min(8000, most), _PERIOD), (100, 0.5))
    request = own.stream(_MADE)
    idle = _used(own.proxy, seconds)
    alone, together, memory, beating = [], [], [], []
    for _ in range(plan.pick(2, 1)):
        used, held = own.proxy.cpu(), own.proxy.resident()
        with crowd(own.proxy.port, request, [number * _APART for number in range(count)]):
            alone.append((own.proxy.cpu() - used) / count * 1e6)
            memory.append((own.proxy.resident() - held) / count)
            beats = count * seconds / _PERIOD
            beating.append(max(0.0, _used(own.proxy, seconds) - idle) / beats * 1e6)
        until_streams(own.proxy, 0)
        used = own.proxy.cpu()
        with crowd(own.proxy.port, request, [0.0] * count):
            together.append((own.proxy.cpu() - used) / count * 1e6)
        until_streams(own.proxy, 0)
    # The first time counts: the memory that the first streams have left is used again by the next.
    yield Row("stream opened", (Figure.of(alone), Figure.of(memory[:1])))
    yield Row("stream opened, with all others", (Figure.of(together), None))
    yield Row("heartbeat", (Figure.of(beating), None))


def _used(server: Server, seconds: float) -> float:
    before = server.cpu()
    time.sleep(seconds)  # the time is what is measured
    return server.cpu() - before


def _bodies(own: Site, sizes: list[Made]) -> Iterator[Row]:
    for made in sizes:
        yield _body(own, made, f"flags, {made.flags}", "feature-configs")
        yield _body(own, made, f"evaluations, {made.flags}", "target/user-1/evaluations")
    yield _body(own, sizes[-1], "target groups", "target-segments?rules=v2")
    yield _body(own, sizes[-1], "one flag", "feature-configs/feature-1")
    yield _body(own, sizes[-1], "one evaluation", "target/user-1/evaluations/feature-1")


def _body(own: Site, made: Made, label: str, resource: str) -> Row:
    path = f"/client/env/{made.id}/{resource}"
    plain = expect(200, own.proxy.port, "GET", path, own.bearer(made))
    zipped = expect(200, own.proxy.port, "GET", path, own.bearer(made) | {"Accept-Encoding": "gzip"})
    return Row(label, (Figure.of([len(plain.body)]), Figure.of([len(zipped.body)])))


def _event(own: Site) -> Row:
    request = own.stream(_MADE)
    with crowd(own.proxy.port, request, [0.0]) as opened:
        stream = opened.sockets[0]
        stream.settimeout(_LONG)
        own.saas.flip("feature-1", _MADE, "two")
        data = b""
        while b"data:" not in data:  # heartbeats come by themselves, and never with an event
            data = stream.recv(65536)
            if not data:
                raise BenchError("a stream ended before its event")
    return Row("event", (Figure.of([len(data)]), None))


def _encrypted(own: Site, plan: Plan) -> Iterator[Row]:
    """Streams through TLS, opened one after another."""
    count = plan.pick(500, 20)
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # the client's part is not measured
    request = own.stream(_MADE)
    with _tls_proxy(own.directory, context) as server:
        used, held = server.cpu(), server.resident()
        streams: list[ssl.SSLSocket] = []
        try:
            for _ in range(count):
                plain = socket.create_connection((HOST, server.port), _LONG)
                stream = context.wrap_socket(plain)
                streams.append(stream)
                stream.sendall(request)
                data = b""
                while b":\n\n" not in data:
                    data += (received := stream.recv(65536))
                    if not received:
                        raise BenchError(f"a stream through TLS was refused: {data[:200]!r}")
            spent, grown = server.cpu() - used, server.resident() - held
        finally:
            for stream in streams:
                stream.close()
    yield Row("stream opened, TLS", (Figure.of([spent / count * 1e6]), Figure.of([grown / count])))


@contextmanager
def _tls_proxy(directory: Path, context: ssl.SSLContext) -> Iterator[Server]:
    """A proxy that serves an offline directory over TLS, and takes the tokens of the other one."""
    with tempfile.TemporaryDirectory() as name:
        certificate, key = make_certificate(Path(name))
        given = {
            "offline": "true",
            "config-dir": str(directory),
            "auth-secret": _SECRET,
            "tls-enabled": "true",
            "tls-cert": str(certificate),
            "tls-key": str(key),
        }

        def ready(port: int) -> bool:
            connection = http.client.HTTPSConnection(HOST, port, timeout=_LONG, context=context)
            with suppress(OSError, http.client.HTTPException), closing(connection):
                connection.request("GET", "/health/ready")
                return connection.getresponse().status == http.client.OK
            return False

        with proxy(given, "ff-proxy with TLS", ready) as server:
            yield server
