"""A scripted proxy of the kind that is migrated from: it answers as the Go proxy v1 does.

A test may change its answers on their way out (``plant``).
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from ff_proxy.model.evaluation import Evaluation
from ff_proxy.model.target import Target
from tests.support.engines import engine_of
from tests.support.network import server
from tests.support.saas import token

Doc = dict[str, Any]

_FLAG_FIELDS: Final = frozenset(
    (
        *("defaultServe", "environment", "feature", "kind", "offVariation", "prerequisites", "project"),
        *("rules", "state", "variationToTargetMap", "variations", "version"),
    )
)
_GROUP_FIELDS: Final = frozenset(
    (
        *("identifier", "name", "environment", "createdAt", "modifiedAt", "included", "excluded"),
        *("rules", "version"),
    )
)
_JSON: Final = "application/json; charset=utf-8"
_CORS: Final = {"Access-Control-Allow-Origin": "*"}


class GoProxy:
    """Serves one environment from wire documents; ``plant`` changes answers on their way out."""

    def __init__(
        self,
        environment: str,
        key: str,
        flags: Sequence[Doc],
        groups: Sequence[Doc],
        targets: Mapping[str, Target],
        plant: Callable[[str, int, Any, dict[str, str]], tuple[int, Any]] | None = None,
    ) -> None:
        self._environment = environment
        self._key = key
        self._flags = [{name: doc[name] for name in doc if name in _FLAG_FIELDS} for doc in flags]
        self._groups = [{name: doc[name] for name in doc if name in _GROUP_FIELDS} for doc in groups]
        self._targets = targets
        self._engine = engine_of(*flags, segments=tuple(groups))
        self._plant = plant or (lambda _path, status, document, _headers: (status, document))

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Yields its address."""
        async with server(self._talk) as port:
            yield f"http://127.0.0.1:{port}"

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        line, *fields = head.split("\r\n")
        method, address, _ = line.split(" ")
        headers = {name.lower(): value for name, _, value in (field.partition(": ") for field in fields)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        path = urlsplit(address).path
        status, document = self._answer(method, path, headers, body)
        said = dict(_CORS)
        status, document = self._plant(address, status, document, said)
        streaming = path == "/stream" and status == 200
        said.setdefault("Content-Type", "text/event-stream" if streaming else _JSON)
        content = b"\n" if streaming else f"{json.dumps(document)}\n".encode()
        if not streaming:
            said["Content-Length"] = str(len(content))
        lines = "".join(f"{name}: {value}\r\n" for name, value in said.items())
        writer.write(f"HTTP/1.1 {status} Said\r\nConnection: close\r\n{lines}\r\n".encode() + content)
        await writer.drain()
        if streaming:
            await reader.read()

    def _answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, Any]:
        if method == "POST" and path == "/client/auth":
            return self._authenticate(body)
        if not headers.get("authorization", "").startswith("Bearer "):
            return 401, {"message": "missing or malformed jwt"}
        if path == "/stream":
            return self._stream(headers.get("api-key", ""))
        parts = [unquote(part) for part in path.split("/")]
        if parts[3] != self._environment:
            return 200, []  # the token is good for any of them
        return self._read(parts[4:])

    def _read(self, parts: Sequence[str]) -> tuple[int, Any]:
        match parts:
            case ["feature-configs", *name]:
                return self._one(self._flags, "feature", name)
            case ["target-segments", *name]:
                return self._one(self._groups, "identifier", name)
            case ["target", target, "evaluations", *name]:
                return self._evaluations(target, name)
        return 404, {"message": "Not Found"}

    def _stream(self, key: str) -> tuple[int, Any]:
        if not key:
            return 400, {"error": "bad request: API-Key can't be empty"}
        return (200, None) if key == self._key else (404, {"error": "not found: no environment found"})

    def _authenticate(self, body: bytes) -> tuple[int, Any]:
        try:
            key = json.loads(body).get("apiKey", "")
        except ValueError as error:
            return 500, {"error": str(error)}
        if not key:
            return 400, {"error": "bad request: apiKey cannot be empty"}
        if key != self._key:
            return 401, {"error": "unauthorised"}
        return 200, {"authToken": token(self._environment, accountID="", environmentIdentifier="")}

    @staticmethod
    def _one(docs: Sequence[Doc], field: str, name: Sequence[str]) -> tuple[int, Any]:
        if not name:
            return 200, list(reversed(docs))
        found = [doc for doc in docs if doc[field] == name[0]]
        return (200, found[0]) if found else (404, {"error": f"not found: cache: not found: {name[0]}"})

    def _evaluations(self, target: str, name: Sequence[str]) -> tuple[int, Any]:
        described = self._targets.get(target, Target(target))
        listed = []
        for answer in reversed(self._engine.evaluate_all(described)):
            kind = self._engine.flags[answer.flag].record.kind
            found = {"flag": answer.flag, "kind": kind, "identifier": "", "value": ""}
            if isinstance(answer, Evaluation):
                value = json.dumps(answer.value) if kind == "json" else answer.value
                found |= {"identifier": answer.variation, "value": value}
            listed.append(found)
        if not name:
            return 200, listed
        one = [entry for entry in listed if entry["flag"] == name[0]]
        if not one:
            return 404, {"error": "not found"}
        return (200, one[0]) if one[0]["identifier"] else (500, {"error": "no such variation"})
