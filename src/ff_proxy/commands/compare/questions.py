"""The requests to both proxies: everything that an SDK may request, and what must be refused."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from types import MappingProxyType
from typing import Final

from ff_proxy.commands.compare.answers import ORIGIN, Answer, no_answer, read_answer
from ff_proxy.commands.compare.known import Kind
from ff_proxy.commands.proxy_client import ProxyClient, bearer, segment, target_header
from ff_proxy.errors import UpstreamError
from ff_proxy.model.environment import EnvironmentInfo
from ff_proxy.model.keys import SdkKey, Secret
from ff_proxy.model.target import Target
from ff_proxy.upstream.transport import OpenStream, Reply
from ff_proxy.wire.saas_auth import auth_body

_UNKNOWN: Final = "ff-proxy-compare-unknown"
_ORIGIN: Final = {"Origin": ORIGIN}
_V2: Final = {"rules": "v2"}
_MARGIN_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Session:
    """A client of one proxy, with its token for one environment."""

    client: ProxyClient
    token: Secret


@dataclass(frozen=True, slots=True)
class Question:
    """A request to both proxies; ``ask`` sends it to one."""

    name: str
    kind: Kind
    ask: Callable[[Session], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Subject:
    """What to compare of one environment; ``other`` is the id of another environment, or empty."""

    key: SdkKey
    environment: EnvironmentInfo
    flags: Sequence[str]
    groups: Sequence[str]
    targets: Sequence[Target]
    single_evaluations: Sequence[str]
    other: str = ""


async def answered(work: Awaitable[Reply]) -> Answer:
    """An answer, or why there is none."""
    try:
        return read_answer(await work)
    except UpstreamError as error:
        return no_answer(str(error))


def questions(subject: Subject, listen: float, *, first: bool) -> Iterator[Question]:
    """All questions about an environment; the stream is read for ``listen`` seconds.

    Failing authentications are part of the ``first`` environment only, since proxies limit them.
    """
    if first:
        yield from _failing_authentications()
    yield from _reads(subject)
    yield from _evaluations(subject)
    yield from _refusals(subject)
    yield _stream("stream", Kind.STREAM, {"API-Key": subject.key.reveal()}, listen)


def _reads(subject: Subject) -> Iterator[Question]:
    base = f"/client/env/{segment(subject.environment.id)}"
    yield _get("feature-configs", Kind.FLAGS, f"{base}/feature-configs")
    for flag in subject.flags:
        yield _get(f"feature-configs/{flag}", Kind.FLAGS, f"{base}/feature-configs/{segment(flag)}")
    for query in ({}, _V2):
        suffix = "?rules=v2" if query else ""
        yield _get(f"target-segments{suffix}", Kind.GROUPS, f"{base}/target-segments", query=query)
        for group in subject.groups:
            path = f"{base}/target-segments/{segment(group)}"
            yield _get(f"target-segments/{group}{suffix}", Kind.GROUPS, path, query=query)


def _evaluations(subject: Subject) -> Iterator[Question]:
    base = f"/client/env/{segment(subject.environment.id)}/target"
    for target in subject.targets:
        headers = target_header(target) if target.attributes else {}
        path = f"{base}/{segment(target.identifier)}/evaluations"
        name = f"evaluations for {target.identifier}"
        yield _get(name, Kind.EVALUATIONS, path, headers)
        for flag in subject.single_evaluations:
            yield _get(f"{name} of {flag}", Kind.EVALUATIONS, f"{path}/{segment(flag)}", headers)


def _failing_authentications() -> Iterator[Question]:
    yield _post("authentication with an unknown key", Kind.UNKNOWN_KEY, auth_body(SdkKey(_UNKNOWN)))
    yield _post("authentication with malformed JSON", Kind.MALFORMED, b'{"apiKey": ')
    yield _post("authentication without a key", Kind.REFUSAL, b"{}")


def _refusals(subject: Subject) -> Iterator[Question]:
    base = f"/client/env/{segment(subject.environment.id)}"
    yield _get("an unknown flag", Kind.REFUSAL, f"{base}/feature-configs/{_UNKNOWN}")
    yield _get("an unknown target group", Kind.REFUSAL, f"{base}/target-segments/{_UNKNOWN}")

    async def without_token(session: Session) -> Answer:
        return await answered(session.client.get(f"{base}/feature-configs", _ORIGIN))

    yield Question("flags without a token", Kind.REFUSAL, without_token)
    if subject.other:
        path = f"/client/env/{segment(subject.other)}/feature-configs"
        yield _get("flags of another environment", Kind.FOREIGN, path)

    yield _stream("stream without a key", Kind.STREAM_REFUSAL, {}, _MARGIN_SECONDS)
    yield _stream("stream with an unknown key", Kind.STREAM_REFUSAL, {"API-Key": _UNKNOWN}, _MARGIN_SECONDS)


def _stream(name: str, kind: Kind, key: Mapping[str, str], listen: float) -> Question:
    """The head of a stream, and its first bytes within ``listen`` seconds."""

    async def ask(session: Session) -> Answer:
        headers = {**_ORIGIN, **bearer(session.token), **key}
        try:
            async with session.client.stream(headers, listen + _MARGIN_SECONDS) as answer:
                said = await _first_words(answer, listen) if answer.status == HTTPStatus.OK else b""
                return Answer(answer.status, answer.headers, {"first": _described(said)})
        except UpstreamError as error:
            return no_answer(str(error))

    return Question(name, kind, ask)


async def _first_words(answer: OpenStream, listen: float) -> bytes:
    with suppress(TimeoutError):
        async with asyncio.timeout(listen):
            async for chunk in answer.chunks():
                return chunk
    return b""


def _described(said: bytes) -> str:
    """The kind of the first bytes of a stream."""
    if said.startswith(b":"):
        return "heartbeat"
    if said.strip():
        return "an event"
    return "a bare newline" if said else "nothing"


def _get(
    name: str,
    kind: Kind,
    path: str,
    headers: Mapping[str, str] = MappingProxyType({}),
    query: Mapping[str, str] = MappingProxyType({}),
) -> Question:
    async def ask(session: Session) -> Answer:
        return await answered(
            session.client.get(path, {**_ORIGIN, **bearer(session.token), **headers}, query)
        )

    return Question(name, kind, ask)


def _post(name: str, kind: Kind, body: bytes) -> Question:
    async def ask(session: Session) -> Answer:
        return await answered(session.client.post("/client/auth", body, _ORIGIN))

    return Question(name, kind, ask)
