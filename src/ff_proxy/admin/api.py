"""The admin API: the records of the pages as JSON. Routes and OpenAPI document share one declaration."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ff_proxy.admin.archive import make_archive
from ff_proxy.admin.explain import Answers, answer, asked_target
from ff_proxy.admin.metrics import History
from ff_proxy.admin.ports import AdminPorts, ReloadResult, SettingRow
from ff_proxy.admin.requests import find_environment, read_body
from ff_proxy.admin.settings import change_level
from ff_proxy.admin.views import ChangeRow, EnvironmentRow, EnvironmentView, FlagView, Reader, Status
from ff_proxy.errors import RequestError, StoreError
from ff_proxy.telemetry import Logger
from ff_proxy.telemetry.levels import LEVELS
from ff_proxy.telemetry.log_ring import LogLine

_encode: Final = msgspec.json.Encoder().encode


class LogLevelChange(msgspec.Struct, frozen=True):
    """A new log level, for one environment if given; an empty level removes that environment's own level."""

    level: str
    environment: str = ""


class LogLevels(msgspec.Struct, frozen=True):
    """The log levels in force."""

    level: str
    environments: Mapping[str, str]


class Problem(msgspec.Struct, frozen=True):
    """Why a request was refused."""

    error: str


@dataclass(frozen=True, slots=True)
class Operation:
    """One call: ``result`` is the type of its JSON, ``None`` for an archive; ``query`` are its parameters."""

    method: str
    path: str
    name: str
    summary: str
    result: Any
    call: Callable[[Request], Awaitable[Response]]
    query: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    errors: Sequence[int] = ()


class Api:
    """Answers the calls of the admin API."""

    def __init__(self, ports: AdminPorts, reader: Reader, history: History, log: Logger) -> None:
        self._ports = ports
        self._reader = reader
        self._history = history
        self._log = log

    def operations(self) -> Sequence[Operation]:
        """All calls."""
        one = "/api/environments/{environment}"
        return (
            Operation("GET", "/api/status", "getStatus", "The whole proxy at a glance", Status, self.status),
            Operation(
                "GET",
                "/api/environments",
                "listEnvironments",
                "Every environment at a glance",
                list[EnvironmentRow],
                self.environments,
            ),
            Operation(
                "GET",
                one,
                "getEnvironment",
                "An environment, by id or identifier: flags, groups, changes, SDKs",
                EnvironmentView,
                self.environment,
                errors=(400, 404),
            ),
            Operation(
                "GET",
                f"{one}/flags/{{flag}}",
                "getFlag",
                "A flag in words",
                FlagView,
                self.flag,
                errors=(400, 404),
            ),
            Operation(
                "GET",
                f"{one}/changes",
                "listChanges",
                "The last changes of an environment, newest first",
                list[ChangeRow],
                self.changes,
                errors=(400, 404),
            ),
            Operation(
                "GET",
                "/api/explain",
                "explain",
                "Why a target gets its variation: of one flag, or of all",
                Answers,
                self.explain,
                query={
                    "environment": "Id or identifier; may be omitted if there is only one",
                    "target": "Identifier of the target",
                    "name": "Name of the target",
                    "attributes": "JSON object; if omitted, those that SDKs have sent",
                    "flag": "Identifier of the flag; if omitted, all flags",
                },
                errors=(400, 404),
            ),
            Operation(
                "GET",
                "/api/logs",
                "listLogLines",
                "The last log lines, newest first",
                list[LogLine],
                self.logs,
                query={
                    "level": "Lines of this level and above",
                    "environment": "Lines about this environment",
                    "q": "Lines that contain this text",
                    "limit": "The maximum number of lines",
                },
                errors=(400,),
            ),
            Operation(
                "GET",
                "/api/settings",
                "listSettings",
                "Every option with its value and source; secrets are masked",
                list[SettingRow],
                self.settings,
            ),
            Operation(
                "GET",
                "/api/snapshot",
                "getSnapshot",
                "An offline directory with every environment, as tar.gz; 503 if it would be incomplete",
                None,
                self.snapshot,
                errors=(503,),
            ),
            Operation(
                "POST",
                "/api/reload",
                "reload",
                "Reload the options; nothing is changed if any of them is invalid",
                ReloadResult,
                self.reload,
                errors=(409,),
            ),
            Operation(
                "GET",
                "/api/log-level",
                "getLogLevel",
                "The log levels in force",
                LogLevels,
                self.levels,
            ),
            Operation(
                "POST",
                "/api/log-level",
                "setLogLevel",
                "Change the log level until the next restart",
                LogLevels,
                self.set_level,
                body=LogLevelChange,
                errors=(400, 413),
            ),
        )

    def routes(self) -> list[BaseRoute]:
        """The routes of all calls."""
        return [
            Route(one.path.replace("{flag}", "{flag:path}"), _failing(one.call), methods=[one.method])
            for one in self.operations()
        ]

    async def status(self, _: Request) -> Response:
        """See ``operations``."""
        return _json(await self._reader.status(await self._history.now()))

    async def environments(self, _: Request) -> Response:
        """See ``operations``."""
        return _json(await self._reader.environments(await self._history.now()))

    async def environment(self, request: Request) -> Response:
        """See ``operations``."""
        snapshot = find_environment(self._ports.snapshots, request.path_params["environment"])
        return _json(await self._reader.environment(snapshot, await self._history.now()))

    async def flag(self, request: Request) -> Response:
        """See ``operations``."""
        snapshot = find_environment(self._ports.snapshots, request.path_params["environment"])
        return _json(await self._reader.flag(snapshot, request.path_params["flag"]))

    async def changes(self, request: Request) -> Response:
        """See ``operations``."""
        snapshot = find_environment(self._ports.snapshots, request.path_params["environment"])
        return _json(await asyncio.to_thread(self._reader.changes, snapshot.environment))

    async def explain(self, request: Request) -> Response:
        """See ``operations``."""
        query = request.query_params
        snapshot = find_environment(self._ports.snapshots, query.get("environment", ""))
        identifier = query.get("target", query.get("identifier", ""))
        target, known = await asked_target(
            self._ports.targets, snapshot, identifier, query.get("name", ""), query.get("attributes", "")
        )
        flag = query.get("flag") or None
        answers = await asyncio.to_thread(answer, snapshot, target, known=known, flag=flag, limit=None)
        if flag is not None and answers.answers[0].reason == "unknown_flag":
            raise RequestError(404, f"the environment has no flag {flag!r}")
        return Response(await asyncio.to_thread(_encode, answers), media_type="application/json")

    async def logs(self, request: Request) -> Response:
        """See ``operations``."""
        query = request.query_params
        level, limit = query.get("level", "DEBUG").upper(), query.get("limit", "1000")
        if level not in LEVELS:
            raise RequestError(400, f"level must be one of {', '.join(LEVELS)}")
        if not (limit.isascii() and limit.isdigit()) or len(limit) > 6:  # noqa: PLR2004  (more than there are)
            raise RequestError(400, "limit must be a whole number")
        lines = self._ports.log.lines(LEVELS[level], query.get("environment", ""), query.get("q", ""))
        return _json(await asyncio.to_thread(lambda: list(islice(lines, int(limit)))))

    async def settings(self, _: Request) -> Response:
        """See ``operations``."""
        return _json(self._ports.settings())

    async def snapshot(self, _: Request) -> Response:
        """See ``operations``."""
        readiness = self._ports.readiness()
        if not readiness.ready:
            reasons = "; ".join(readiness.pending) or "no environment is loaded yet"
            raise RequestError(503, f"the snapshot would not be complete: {reasons}")
        snapshots = list(self._ports.snapshots.all().values())
        try:
            targets = {one.environment: await self._ports.targets.every(one.environment) for one in snapshots}
        except StoreError as error:
            raise RequestError(503, f"the snapshot would not be complete: {error}") from error
        archive = await asyncio.to_thread(make_archive, snapshots, targets, self._ports.clock.wall())
        return Response(
            archive,
            media_type="application/gzip",
            headers={"Content-Disposition": 'attachment; filename="ff-proxy-config.tar.gz"'},
        )

    async def reload(self, _: Request) -> Response:
        """See ``operations``."""
        result = await asyncio.to_thread(self._ports.reload)
        return _json(result, 409 if result.problems else 200)

    async def levels(self, _: Request) -> Response:
        """See ``operations``."""
        return _json(LogLevels(self._ports.levels.default, self._ports.levels.environments))

    async def set_level(self, request: Request) -> Response:
        """See ``operations``."""
        try:
            wanted = msgspec.json.decode(await read_body(request), type=LogLevelChange)
        except (ValueError, RecursionError) as error:
            raise RequestError(400, f'the body must be JSON such as {{"level": "DEBUG"}}: {error}') from error
        change_level(self._ports.levels, self._log, wanted.level, wanted.environment)
        return await self.levels(request)


def _json(value: object, status: int = 200) -> Response:
    return Response(_encode(value), status, media_type="application/json")


def _failing(call: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    async def answered(request: Request) -> Response:
        try:
            return await call(request)
        except RequestError as error:
            return _json(Problem(error.message), error.status)

    return answered
