"""The client API of Harness: authenticate, fetch, evaluate, stream, post usage (spec/sdk-wire#requests)."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from ff_proxy.errors import RequestError
from ff_proxy.model.environment import Domain
from ff_proxy.sandbox.endpoint import Endpoint, authorised, json_response, own_environment
from ff_proxy.sandbox.environment import Document
from ff_proxy.sandbox.evaluations import Evaluations
from ff_proxy.sandbox.faults import RouteName
from ff_proxy.sandbox.received import UsagePost, objects, pairs
from ff_proxy.sandbox.running import RunningSandbox
from ff_proxy.sandbox.tokens import issue_token

_AND_RULES: Final = "v2"
_TARGET_HEADER: Final = "harness-target"


class ClientApi:
    """The handlers of the client API over one sandbox."""

    def __init__(self, sandbox: RunningSandbox) -> None:
        self._sandbox = sandbox
        self._evaluate = Evaluations()

    def routes(self) -> list[BaseRoute]:
        """The routes below Harness's base URLs."""
        environment = "/client/env/{environment}"
        evaluations = environment + "/target/{target:path}/evaluations"
        table = (
            ("POST", "/client/auth", RouteName.AUTH, self._auth),
            ("GET", environment + "/feature-configs", RouteName.FLAGS, self._flags),
            ("GET", environment + "/feature-configs/{identifier}", RouteName.FLAG, self._flag),
            ("GET", environment + "/target-segments", RouteName.SEGMENTS, self._segments),
            ("GET", environment + "/target-segments/{identifier}", RouteName.SEGMENT, self._segment),
            ("GET", evaluations, RouteName.EVALUATIONS, self._evaluations),
            ("GET", evaluations + "/{identifier}", RouteName.EVALUATION, self._evaluation),
            ("GET", "/stream", RouteName.STREAM, self._stream),
            ("POST", "/metrics/{environment}", RouteName.USAGE, self._usage),
        )
        return [
            Route(path, Endpoint(self._sandbox, name, handler), methods=[method])
            for method, path, name, handler in table
        ]

    async def _auth(self, request: Request) -> Response:
        body = _json_object(await request.body())
        key = body.get("apiKey")
        if not isinstance(key, str) or not key:
            raise RequestError(400, "apiKey is missing")
        found = self._sandbox.state.authenticate(key)
        if found is None:
            raise RequestError(403, "the key is not known")
        environment, known = found
        target = body.get("target")
        # A server SDK may send a target without an identifier; anonymous ones are never registered.
        if isinstance(target, dict) and target.get("identifier") and not target.get("anonymous"):
            environment.put_target({**target, "identifier": str(target["identifier"])})
        return json_response({"authToken": issue_token(environment, known)})

    async def _flags(self, request: Request) -> Response:
        return json_response(list(own_environment(self._sandbox, request).flags.values()))

    async def _flag(self, request: Request) -> Response:
        environment = own_environment(self._sandbox, request)
        return json_response(environment.item(Domain.FLAG, request.path_params["identifier"]))

    async def _segments(self, request: Request) -> Response:
        segments = own_environment(self._sandbox, request).segments.values()
        return json_response([_segment_for(request, segment) for segment in segments])

    async def _segment(self, request: Request) -> Response:
        environment = own_environment(self._sandbox, request)
        segment = environment.item(Domain.SEGMENT, request.path_params["identifier"])
        return json_response(_segment_for(request, segment))

    async def _evaluations(self, request: Request) -> Response:
        environment = own_environment(self._sandbox, request)
        header = request.headers.get(_TARGET_HEADER)
        return json_response(self._evaluate.every(environment, request.path_params["target"], header))

    async def _evaluation(self, request: Request) -> Response:
        environment = own_environment(self._sandbox, request)
        header = request.headers.get(_TARGET_HEADER)
        flag = request.path_params["identifier"]
        return json_response(self._evaluate.one(environment, request.path_params["target"], header, flag))

    async def _stream(self, request: Request) -> ASGIApp:
        if not request.headers.get("api-key"):
            return Response(status_code=400)
        try:
            environment, key = authorised(self._sandbox, request)
        except RequestError as error:
            # A refusal with a body keeps the JavaScript SDK from polling.
            return Response(status_code=error.status)
        return self._sandbox.streams.response(environment.info.id, key.hash)

    async def _usage(self, request: Request) -> Response:
        environment = own_environment(self._sandbox, request)
        body = await request.body()
        if len(body) > self._sandbox.state.settings.usage_body_limit:
            raise RequestError(413, "the body is too large")
        post = _json_object(body)
        self._sandbox.usage.add(UsagePost(environment.info.id, request.query_params.get("cluster", ""), post))
        for target in objects(post.get("targetData")):
            if isinstance(target.get("identifier"), str) and target["identifier"]:
                environment.put_target({**target, "attributes": pairs(target.get("attributes"))})
        return json_response({})


def _json_object(body: bytes) -> Mapping[str, Any]:
    try:
        content = msgspec.json.decode(body)
    except (ValueError, RecursionError) as error:
        raise RequestError(400, f"the body is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise RequestError(400, "the body is not a JSON object")
    return content


def _segment_for(request: Request, segment: Document) -> Document:
    # spec/sdk-wire#segment: exactly "v2" gets the AND rules, other values the older form.
    unwanted = "rules" if request.query_params.get("rules") == _AND_RULES else "servingRules"
    shown = {name: value for name, value in segment.items() if name != unwanted}
    if unwanted == "servingRules":
        shown.setdefault("rules", [])
    return shown
