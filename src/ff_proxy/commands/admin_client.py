"""A client for the admin API of a running proxy."""

import json
from collections.abc import Sequence
from http import HTTPStatus
from typing import Final, TypeVar

import msgspec

from ff_proxy.commands.proxy_client import ProxyClient, bearer, segment
from ff_proxy.config.spelling import nearest
from ff_proxy.errors import ConfigError, UpstreamMalformed, UpstreamRefused
from ff_proxy.evaluation import Explanation
from ff_proxy.evaluation.explanation import Step
from ff_proxy.model.environment import EnvironmentInfo
from ff_proxy.model.evaluation import Evaluation, NoEvaluation, Reason
from ff_proxy.model.keys import EnvironmentId, Secret
from ff_proxy.model.target import Target
from ff_proxy.upstream.transport import Reply

_T = TypeVar("_T")

_STATUS: Final = "/api/status"
_REFUSED: Final = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS})


class _Environment(msgspec.Struct):
    id: str
    identifier: str
    project: str
    organization: str
    loaded: bool


class _Flag(msgspec.Struct):
    identifier: str


class _View(msgspec.Struct):
    flags: list[_Flag]


class _Answer(msgspec.Struct, rename="camel"):
    flag: str
    kind: str
    variation: str | None
    value: str | None
    reason: Reason
    detail: str
    steps: tuple[Step, ...]


class _Answers(msgspec.Struct, rename="camel"):
    target: Target
    answers: tuple[_Answer, ...]


async def is_admin_address(client: ProxyClient) -> bool:
    """Whether ``client`` reaches an admin address, token or not; raises ``UpstreamError``."""
    reply = await client.get(_STATUS)
    return reply.status == HTTPStatus.OK or reply.status in _REFUSED


class AdminClient:
    """The admin API that ``client`` reaches."""

    def __init__(self, client: ProxyClient, token: Secret | None) -> None:
        self._client = client
        self._headers = {} if token is None else bearer(token)
        self._known: dict[EnvironmentId, EnvironmentInfo] = {}

    async def environments(self) -> Sequence[EnvironmentInfo]:
        """The environments that the proxy serves; raises ``UpstreamError``."""
        listed = await self._asked("/api/environments", list[_Environment])
        found = [
            EnvironmentInfo(
                id=EnvironmentId(one.id),
                identifier=one.identifier,
                project_identifier=one.project,
                organization_identifier=one.organization,
            )
            for one in listed
            if one.loaded
        ]
        self._known = {info.id: info for info in found}
        return found

    async def explain(
        self, environment: EnvironmentId, flag: str, target: Target, *, described: bool
    ) -> tuple[EnvironmentInfo, Target, Explanation]:
        """The proxy's own explanation; with the attributes that it knows unless ``described``.

        Call ``environments`` first. Raises ``ConfigError`` for an unknown flag.
        """
        query = {"environment": environment, "target": target.identifier, "flag": flag}
        if described:
            query["attributes"] = json.dumps(dict(target.attributes))
        reply = await self._client.get("/api/explain", self._headers, query)
        if reply.status == HTTPStatus.NOT_FOUND:
            view = await self._asked(f"/api/environments/{segment(environment)}", _View)
            hint = nearest(flag, [one.identifier for one in view.flags])
            raise ConfigError(f"flag: the environment has no flag {flag!r}{hint}")
        answers = self._decoded(reply, "/api/explain", _Answers)
        if len(answers.answers) != 1:
            raise UpstreamMalformed(f"{self._client.url}/api/explain gave no explanation")
        return self._known[environment], answers.target, _explanation(answers.answers[0])

    async def _asked(self, path: str, wanted: type[_T]) -> _T:
        return self._decoded(await self._client.get(path, self._headers), path, wanted)

    def _decoded(self, reply: Reply, path: str, wanted: type[_T]) -> _T:
        url, status = self._client.url, reply.status
        if status in _REFUSED:
            message = f"{url} requires its token: pass it as ADMIN_TOKEN or -admin-token"
            raise UpstreamRefused(message, status=status)
        if status != HTTPStatus.OK:
            raise UpstreamRefused(f"{url}{path} answered {status}", status=status)
        try:
            return msgspec.json.decode(reply.body, type=wanted)
        except (ValueError, RecursionError) as error:
            raise UpstreamMalformed(f"{url}{path} is not that of ff-proxy: {error}") from error


def _explanation(answer: _Answer) -> Explanation:
    if answer.variation is None:
        return Explanation(NoEvaluation(answer.flag, answer.reason, answer.detail), answer.steps)
    value = answer.value or ""
    outcome = Evaluation(answer.flag, answer.kind, answer.variation, value, answer.reason)
    return Explanation(outcome, answer.steps)
