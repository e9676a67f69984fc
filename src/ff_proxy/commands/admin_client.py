"""A client for the admin API of a running proxy."""

import json
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final

import msgspec

from ff_proxy.commands.proxy_client import ProxyClient, bearer, segment
from ff_proxy.config.spelling import nearest
from ff_proxy.errors import ConfigError, MalformedJson, UpstreamMalformed, UpstreamRefused
from ff_proxy.evaluation import Explanation
from ff_proxy.evaluation.explanation import Step
from ff_proxy.model.environment import EnvironmentInfo
from ff_proxy.model.evaluation import Evaluation, NoEvaluation, Reason
from ff_proxy.model.keys import EnvironmentId, Secret
from ff_proxy.model.target import Target
from ff_proxy.wire.values import decode_json

_STATUS: Final = "/api/status"
_REFUSED: Final = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS})


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
        listed = await self._asked("/api/environments")
        found = [
            EnvironmentInfo(
                id=EnvironmentId(str(one["id"])),
                identifier=str(one["identifier"]),
                project_identifier=str(one["project"]),
                organization_identifier=str(one["organization"]),
            )
            for one in listed
            if one["loaded"]
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
            view = await self._asked(f"/api/environments/{segment(environment)}")
            hint = nearest(flag, [str(one["identifier"]) for one in view["flags"]])
            raise ConfigError(f"flag: the environment has no flag {flag!r}{hint}")
        self._check(reply.status, "/api/explain")
        try:
            answers = msgspec.json.decode(reply.body, type=_Answers)
            (answer,) = answers.answers
        except (ValueError, RecursionError) as error:
            raise UpstreamMalformed(f"{self._client.url}/api/explain gave no explanation: {error}") from error
        return self._known[environment], answers.target, _explanation(answer)

    async def _asked(self, path: str) -> Any:
        reply = await self._client.get(path, self._headers)
        self._check(reply.status, path)
        try:
            return decode_json(reply.body, max_lenient_bytes=len(reply.body))
        except MalformedJson as error:
            raise UpstreamMalformed(f"{self._client.url}{path} gave no JSON") from error

    def _check(self, status: int, path: str) -> None:
        if status in _REFUSED:
            raise UpstreamRefused(
                f"{self._client.url} requires its token: pass it as ADMIN_TOKEN or -admin-token",
                status=status,
            )
        if status != HTTPStatus.OK:
            raise UpstreamRefused(f"{self._client.url}{path} answered {status}", status=status)


def _explanation(answer: _Answer) -> Explanation:
    if answer.variation is None:
        return Explanation(NoEvaluation(answer.flag, answer.reason, answer.detail), answer.steps)
    value = answer.value or ""
    outcome = Evaluation(answer.flag, answer.kind, answer.variation, value, answer.reason)
    return Explanation(outcome, answer.steps)
