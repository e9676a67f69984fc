"""Requests that no SDK sends: of every route, wrong in method, path, fields, token, framing, or body."""

import base64
import json
import random
from collections.abc import Sequence
from typing import Final

import msgspec

from tests.support.sdk_like import DEV, KEYS, PROD

_SOUND: Final = 0.6
_PATHS: Final = (
    "/client/auth",
    f"/client/env/{DEV}/feature-configs",
    f"/client/env/{DEV}/feature-configs/dark_mode",
    f"/client/env/{DEV}/target-segments",
    f"/client/env/{DEV}/target-segments/europe",
    f"/client/env/{DEV}/target/ana/evaluations",
    f"/client/env/{DEV}/target/ana/evaluations/dark_mode",
    f"/metrics/{DEV}",
    "/stream",
    "/health",
    "/health/live",
    "/health/ready",
    "/metrics",
    "/ofrep/v1/evaluate/flags",
    "/ofrep/v1/evaluate/flags/dark_mode",
    "/",
)
_METHODS: Final = (
    "GET",
    "POST",
    "HEAD",
    "OPTIONS",
    "PUT",
    "DELETE",
    "PATCH",
    "TRACE",
    "CONNECT",
    "G\x00T",
    "get",
    "",
)
_PIECES: Final = (
    "%",
    "%zz",
    "%00",
    "%2f",
    "%F0%9F%98%80",
    "//",
    "..",
    "/",
    "?",
    "&rules=v2",
    "?cluster=%",
    " ",
    "\t",
    "é",
    "\x7f",
    ";",
    "#",
    PROD,
    "evaluations",
    "x" * 3000,
    "-" * 70,
)
_NAMES: Final = (
    "Authorization",
    "API-Key",
    "Harness-Target",
    "Harness-SDK-Info",
    "If-None-Match",
    "Accept-Encoding",
    "Content-Encoding",
    "Content-Type",
    "Origin",
    "Access-Control-Request-Method",
    "X-Request-ID",
    "X-Forwarded-For",
    "Connection",
    "Upgrade",
    "Expect",
    "Range",
    "Cookie",
    "Host",
    "Last-Event-ID",
)
_VALUES: Final = (
    "",
    "*",
    "x",
    "null",
    "keep-alive, upgrade",
    "gzip;q=banana, *;q=0",
    '"a", W/"b", "',
    "e30=",
    "bnVsbA==",
    "!!!",
    "websocket",
    "100-continue",
    "bytes=0-",
    "https://evil.example",
    "application/json; charset=utf-16",
    "gzip",
    "999999999999999999999",
    "\x01",
    "é" * 20,
    "x" * 20_000,
    ", " * 500,
)
_NUMBERS: Final = ("0", "-1", "+5", "5, 5", "0x10", "1e3", "99999999999999999999", "", "5", "100")
_TEXTS: Final = ("", "a", "\ud800", "\x00", "é" * 100, "x" * 5000, "__proto__", "1", "null", '"', "\\")
_CHUNKS: Final = (
    b"5\r\nhello\r\n0\r\n\r\n",
    b"g\r\n",
    b"5\r\nhell",
    b"0\r\nX: y\r\n\r\n",
    b"fffffffffffffffff\r\n",
    b"\r\n",
)


class Sent(msgspec.Struct, frozen=True):
    """One request and what it may be answered with beside 2xx, 3xx and 4xx."""

    data: bytes
    excused: frozenset[int] = frozenset()


class BadRequests:
    """Draws them.

    Args:
        chance: what they are drawn from.
        token: a good one, of the development environment.
    """

    def __init__(self, chance: random.Random, token: str) -> None:
        self._chance = chance
        self._token = token
        self._sound = True

    def draw(self) -> Sent:
        """The next one: more than half of them are HTTP that any parser takes."""
        chance = self._chance
        self._sound = chance.random() < _SOUND
        path = self._path()
        method = self._of(_METHODS) if chance.random() < 0.2 else chance.choice(("GET", "POST"))
        fields = [("Host", "x")] if chance.random() < 0.9 else []
        if chance.random() < 0.7:
            fields.append(("Authorization", self._bearer()))
        if path.startswith("/stream") or chance.random() < 0.1:
            fields.append(("API-Key", chance.choice((KEYS[DEV], KEYS[PROD], "x", ""))))
        more = chance.choice((0, 0, 1, 2, 5))
        fields += [(chance.choice(_NAMES), self._of(_VALUES)) for _ in range(more)]
        if chance.random() < 0.02:
            fields += [(f"X-{number}", "y") for number in range(chance.choice((50, 150, 400)))]
        body = self._body(path)
        framing, sent = self._framed(body)
        version = (
            "HTTP/1.1"
            if chance.random() < 0.95
            else chance.choice(("HTTP/1.0", "HTTP/2.0", "HTTP/9", "X", ""))
        )
        lines = [
            f"{method} {path} {version}",
            *(f"{name}: {value}" for name, value in fields),
            *framing,
            "",
            "",
        ]
        data = "\r\n".join(lines).encode("utf-8", "surrogatepass") + sent
        # Whether a key that nobody knows is good may not be known now.
        excused = (
            frozenset({503})
            if "/client/auth" in path or path.startswith(("/stream", "/ofrep"))
            else frozenset()
        )
        return Sent(self._torn(data), excused | ({502} if "/client/env" in path else frozenset()))

    def _path(self) -> str:
        chance = self._chance
        path = chance.choice(_PATHS)
        for _ in range(chance.choice((0, 0, 0, 1, 1, 3))):
            place = chance.randrange(len(path) + 1)
            path = path[:place] + self._of(_PIECES) + path[place + chance.choice((0, 0, 1, 5)) :]
        return f"/api/1.0{path}" if chance.random() < 0.1 else path

    def _of(self, choices: Sequence[str]) -> str:
        """One of these; a text that can stand in a head, if the request is to be sound."""
        found = self._chance.choice(choices)
        return (
            found
            if not self._sound or (found.isascii() and found.isprintable() and " " not in found)
            else "x"
        )

    def _bearer(self) -> str:
        chance = self._chance
        if chance.random() < 0.5:
            return f"Bearer {self._token}"
        head, payload, signature = self._token.split(".")
        unsigned = base64.urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=")
        wrong = (
            "",
            "x",
            "a.b.c",
            f"{head}.{payload}.",
            f"{unsigned}.{payload}.{signature}",
            f"{head}.{payload[::-1]}.{signature}",
            f"{head}.{payload}.{signature}.{signature}",
            "." * 500,
            "A" * 9000,
        )
        return f"{chance.choice(('Bearer', 'bearer', 'Basic', ''))} {chance.choice(wrong)}"

    def _body(self, path: str) -> bytes:
        chance = self._chance
        if chance.random() < 0.3:
            return chance.choice(
                (b"", b"{", b"[]", b"\xff\xfe\x00", b"[" * 20_000, b"{" * 500, chance.randbytes(200))
            )
        document: object = self._value(4)
        if "auth" in path and chance.random() < 0.7:
            target = {"identifier": self._value(1), "name": self._value(1), "attributes": self._value(3)}
            document = {"apiKey": chance.choice((KEYS[DEV], self._value(1))), "target": target}
        elif "metrics" in path and chance.random() < 0.7:
            entry = {"count": self._value(1), "metricsType": self._value(1), "attributes": self._value(3)}
            document = {"metricsData": [entry, self._value(2)], "targetData": self._value(2)}
        text = json.dumps(document)
        if chance.random() < 0.3:
            place = chance.randrange(len(text) + 1)
            text = (
                text[:place] + chance.choice(("", "NaN", "1e999", "\\u", '"', "}", "9" * 400)) + text[place:]
            )
        return text.encode("utf-8", "surrogatepass")

    def _value(self, depth: int) -> object:
        chance = self._chance
        simple = (None, True, 0, -1, 1.5, 10**30, 1e308, *_TEXTS)
        kind = chance.random()
        if depth == 0 or kind < 0.5:
            return chance.choice(simple)
        if kind < 0.75:
            return [self._value(depth - 1) for _ in range(chance.randrange(4))]
        names = ("key", "value", "featureIdentifier", "identifier", "count", *_TEXTS)
        return {chance.choice(names): self._value(depth - 1) for _ in range(chance.randrange(4))}

    def _framed(self, body: bytes) -> tuple[list[str], bytes]:
        chance = self._chance
        kind = 0.8 * chance.random() if self._sound else chance.random()
        if kind < 0.7:
            return [f"Content-Length: {len(body)}"], body
        if kind < 0.8:
            return ["Transfer-Encoding: chunked"], f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n"
        if kind < 0.85:
            return ["Transfer-Encoding: chunked"], chance.choice(_CHUNKS)
        if kind < 0.9:
            return [f"Content-Length: {chance.choice(_NUMBERS)}"], body
        if kind < 0.93:
            return [f"Content-Length: {len(body)}", "Transfer-Encoding: chunked"], body
        return [], body

    def _torn(self, data: bytes) -> bytes:
        chance = self._chance
        kind = chance.random()
        if kind < 0.9 or self._sound:
            return data
        place = chance.randrange(len(data) + 1)
        if kind < 0.95:
            return data[:place]
        return (
            data[:place]
            + chance.choice((b"\r\n", b"\n", b"\x00", b"\r", b": ", chance.randbytes(8)))
            + data[place:]
        )
