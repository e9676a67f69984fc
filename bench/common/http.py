"""Single HTTP requests, to check what is about to be measured."""

import http.client
from collections.abc import Mapping
from dataclasses import dataclass

from bench.common.plan import BenchError
from bench.common.processes import HOST


@dataclass(frozen=True, slots=True)
class Answer:
    """A response; the names of ``fields`` are in lower case."""

    status: int
    fields: Mapping[str, str]
    body: bytes


def ask(
    port: int,
    method: str,
    path: str,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    seconds: float = 10.0,
) -> Answer:
    """The answer to one request; raises ``OSError`` or ``http.client.HTTPException`` if there is none."""
    connection = http.client.HTTPConnection(HOST, port, timeout=seconds)
    try:
        connection.request(method, path, body, dict(headers or {}))
        response = connection.getresponse()
        content = response.read()
        return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, content)
    finally:
        connection.close()


def expect(
    status: int,
    port: int,
    method: str,
    path: str,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    seconds: float = 10.0,
) -> Answer:
    """The same, but any other status is a ``BenchError``."""
    answer = ask(port, method, path, headers, body, seconds)
    if answer.status != status:
        raise BenchError(f"{method} {path}: {answer.status} instead of {status}: {answer.body[:300]!r}")
    return answer


def metric(port: int, name: str) -> int:
    """The sum of the samples whose lines begin with ``name``."""
    lines = expect(200, port, "GET", "/metrics").body.decode().splitlines()
    return round(sum(float(line.split()[-1]) for line in lines if line.startswith(name)))


def answers(port: int, path: str) -> bool:
    """Whether a GET of ``path`` gives 200 now."""
    try:
        return ask(port, "GET", path).status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
