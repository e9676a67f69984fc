"""Load by wrk: one kind of request, all equal or all different."""

import base64
import itertools
import json
import re
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field

from bench.common.plan import BenchError
from bench.common.processes import HOST, Server

NUMBER = "@N@"
"""Stands in path, header fields or body for a number that differs from request to request."""
_BASE64 = re.compile(r"@base64\((.*?)\)@")

CONNECTIONS = 64
_SECONDS = 1
_POOL = 60_000
_QUICK_POOL = 2_000
_QUICK_DELAY = 200  # milliseconds, on each connection
_counter = itertools.count(1)

# What wrk counts as an error of status is 400 and more.
_SCRIPT = """
wrk.method = %(method)s
wrk.path = %(path)s
wrk.body = %(body)s
%(headers)s
local pool, first, pause = %(pool)d, %(first)d, %(delay)d
local requests, count = {}, 0
local letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
local function base64(text)
    local digits = {}
    for i = 1, #text, 3 do
        local a, b, c = text:byte(i, i + 2)
        local all = a * 65536 + (b or 0) * 256 + (c or 0)
        for place = 3, 0, -1 do
            local digit = math.floor(all / 64 ^ place) %% 64 + 1
            digits[#digits + 1] = (3 - place > (c and 3 or b and 2 or 1)) and "=" or letters:sub(digit, digit)
        end
    end
    return table.concat(digits)
end
local function numbered(text, number)
    if not text then return nil end
    text = text:gsub("@N@", tostring(number))
    return (text:gsub("@base64%%((.-)%%)@", base64))
end
if pool > 0 then
    init = function(args)
        for i = 1, pool do
            local headers = {}
            local n = first + i
            for name, value in pairs(wrk.headers) do headers[name] = numbered(value, n) end
            requests[i] = wrk.format(nil, numbered(wrk.path, n), headers, numbered(wrk.body, n))
        end
    end
    request = function() count = count %% pool + 1; return requests[count] end
end
if pause > 0 then
    delay = function() return pause end
end
done = function(summary, latency, requests)
    local e = summary.errors
    io.write(string.format(
        '\\n{"requests":%%d,"micros":%%d,"p50":%%d,"p99":%%d,"errors":%%d,"bytes":%%d}\\n',
        summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
        e.connect + e.read + e.write + e.status + e.timeout, summary.bytes))
end
"""


@dataclass(frozen=True, slots=True)
class Request:
    """A request.

    ``several`` says how many different requests there are if ``NUMBER`` stands in it; by default so many
    that none comes twice, not even in a later run.
    """

    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    method: str = "GET"
    body: str | None = None
    several: int | None = None

    @property
    def varies(self) -> bool:
        """Whether it contains ``NUMBER``."""
        return any(NUMBER in text for text in (self.path, self.body or "", *self.headers.values()))

    def numbered(self, number: int) -> "Request":
        """The request of that number."""
        return Request(
            _numbered(self.path, number),
            {name: _numbered(value, number) for name, value in self.headers.items()},
            self.method,
            None if self.body is None else _numbered(self.body, number),
        )


@dataclass(frozen=True, slots=True)
class Load:
    """The figures of one run: requests a second, the same per second of the server's CPU, latency in ms."""

    rate: float
    per_cpu: float
    p50: float
    p99: float


def base64_of(text: str) -> str:
    """A placeholder for ``text`` in base64, after the placeholders in it are replaced."""
    return f"@base64({text})@"


def _numbered(text: str, number: int) -> str:
    text = text.replace(NUMBER, str(number))
    return _BASE64.sub(lambda found: base64.b64encode(found[1].encode()).decode(), text)


def load(server: Server, request: Request, *, quick: bool = False) -> Load:
    """Ask ``server`` for a second, from many connections; raises ``BenchError`` on any error.

    As fast as it answers; or, if ``quick``, so slowly that it costs little.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(_script(request, quick=quick))
        script.flush()
        command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{_SECONDS}s", "-s", script.name]
        before = server.cpu()
        done = subprocess.run(
            [*command, f"http://{HOST}:{server.port}{request.path.split(NUMBER)[0]}"],
            capture_output=True,
            text=True,
            check=False,
        )
        used = server.cpu() - before
    try:
        told = json.loads(done.stdout.strip().splitlines()[-1])
    except (ValueError, IndexError):
        raise BenchError(f"wrk said: {done.stdout}{done.stderr}") from None
    if told["errors"] or not told["requests"]:
        raise BenchError(f"{server.name}, {request.method} {request.path}: {done.stdout}")
    return Load(
        rate=told["requests"] / told["micros"] * 1e6,
        per_cpu=told["requests"] / max(used, 0.01),
        p50=told["p50"] / 1000,
        p99=told["p99"] / 1000,
    )


def _script(request: Request, *, quick: bool) -> str:
    pool = 0
    first = 0
    if request.varies:
        pool = request.several or (_QUICK_POOL if quick else _POOL)
        first = 0 if request.several else next(_counter) * _POOL
    fields = "\n".join(
        f"wrk.headers[ {_lua(name)} ] = {_lua(value)}" for name, value in request.headers.items()
    )
    return _SCRIPT % {
        "method": _lua(request.method),
        "path": _lua(request.path),
        "body": "nil" if request.body is None else _lua(request.body),
        "headers": fields,
        "pool": pool,
        "first": first,
        "delay": _QUICK_DELAY if quick else 0,
    }


def _lua(text: str) -> str:
    return f"[==[{text}]==]"
