"""The HTML pages. All of them work without JavaScript."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from itertools import islice
from typing import Final

import msgspec
from jinja2 import Environment
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from ff_proxy.admin.access import COOKIE, SESSION_SECONDS, AdminAccess, client_address
from ff_proxy.admin.charts import HEIGHT, WIDTH, draw
from ff_proxy.admin.explain import Answers, answer, asked_target
from ff_proxy.admin.live import Live
from ff_proxy.admin.metrics import History
from ff_proxy.admin.ports import AdminPorts, ReloadResult
from ff_proxy.admin.requests import find_environment, read_form
from ff_proxy.admin.settings import by_section, change_level
from ff_proxy.admin.views import Reader, named_identifiers
from ff_proxy.errors import RequestError
from ff_proxy.snapshots.snapshot import Snapshot
from ff_proxy.telemetry import Logger
from ff_proxy.telemetry.levels import LEVELS

_MOST_LINES: Final = 1000
_MOST_USAGE: Final = 300

Page = Callable[[Request], Awaitable[Response]]


class Pages:
    """Renders the pages from ``reader`` and ``history``."""

    def __init__(
        self,
        ports: AdminPorts,
        reader: Reader,
        history: History,
        access: AdminAccess,
        templates: Environment,
        live: Live,
        log: Logger,
    ) -> None:
        self._ports = ports
        self._reader = reader
        self._history = history
        self._access = access
        self._templates = templates
        self._live = live
        self._log = log

    def routes(self) -> list[BaseRoute]:
        """The routes of all pages."""
        pages: Mapping[str, Page] = {
            "/": self.overview,
            "/environments/{id}": self.environment,
            "/environments/{id}/target": self.target,
            "/environments/{id}/flags/{flag:path}": self.flag,
            "/sdks": self.sdks,
            "/queues": self.queues,
            "/logs": self.logs,
            "/settings": self.settings,
            "/login": self.login,
            "/live": self.live,
        }
        forms: Mapping[str, Page] = {
            "/login": self.log_in,
            "/logout": self.log_out,
            "/settings/log-level": self.set_level,
            "/settings/reload": self.reload,
        }
        return [
            *(Route(path, self._failing(page), methods=["GET"]) for path, page in pages.items()),
            *(Route(path, self._failing(page), methods=["POST"]) for path, page in forms.items()),
        ]

    async def overview(self, request: Request) -> Response:
        """The overview: health, environments, charts."""
        metrics = await self._history.now()
        status = await self._reader.status(metrics)
        charts = [draw(series) for series in self._history.charts()]
        names = {row.id: row.name for row in status.environments}
        return await self._render("overview.html", request, overview=status, charts=charts, names=names)

    async def environment(self, request: Request) -> Response:
        """One environment."""
        snapshot = find_environment(self._ports.snapshots, request.path_params["id"])
        view = await self._reader.environment(snapshot, await self._history.now())
        search = request.query_params.get("q", "")
        flags = [one for one in view.flags if search.casefold() in f"{one.identifier} {one.name}".casefold()]
        return await self._render(
            "environment.html",
            request,
            view=view,
            flags=flags,
            search=search,
            known={one.identifier for one in view.flags},
            most_usage=_MOST_USAGE,
        )

    async def flag(self, request: Request) -> Response:
        """One flag."""
        snapshot = find_environment(self._ports.snapshots, request.path_params["id"])
        identifier = request.path_params["flag"]
        view = await self._reader.flag(snapshot, identifier)
        content = snapshot.flag(identifier).content  # type: ignore[union-attr]
        wire = await asyncio.to_thread(msgspec.json.format, content, indent=2)
        return await self._render(
            "flag.html",
            request,
            view=view,
            wire=wire.decode(),
            info=snapshot.info,
            known=await asyncio.to_thread(named_identifiers, snapshot),
        )

    async def target(self, request: Request) -> Response:
        """The variations that a target gets, and why."""
        snapshot = find_environment(self._ports.snapshots, request.path_params["id"])
        query = request.query_params
        asked = {
            name: query.get(name, "").strip() for name in ("identifier", "name", "attributes", "q", "flag")
        }
        answers: Answers | None = None
        problem = ""
        if "identifier" in query:
            try:
                answers = await self._answers(snapshot, asked)
            except RequestError as error:
                problem = error.message
        return await self._render(
            "target.html",
            request,
            400 if problem else 200,
            info=snapshot.info,
            asked=asked,
            answers=answers,
            problem=problem,
            known=await asyncio.to_thread(named_identifiers, snapshot),
            query=request.url.query,
        )

    async def _answers(self, snapshot: Snapshot, asked: Mapping[str, str]) -> Answers:
        target, known = await asked_target(
            self._ports.targets, snapshot, asked["identifier"], asked["name"], asked["attributes"]
        )
        return await asyncio.to_thread(
            answer, snapshot, target, known=known, flag=asked["flag"] or None, search=asked["q"]
        )

    async def sdks(self, request: Request) -> Response:
        """Streams and SDKs."""
        metrics = await self._history.now()
        rows = await self._reader.environments(metrics)
        names = {row.id: row.name for row in rows}
        return await self._render("sdks.html", request, metrics=metrics, rows=rows, names=names)

    async def queues(self, request: Request) -> Response:
        """Queued and dropped usage."""
        metrics = await self._history.now()
        rows = await self._reader.environments(metrics)
        return await self._render("queues.html", request, metrics=metrics, rows=rows)

    async def logs(self, request: Request) -> Response:
        """The last lines of the log."""
        query = request.query_params
        level = query.get("level", "DEBUG").upper()
        environment, text = query.get("environment", ""), query.get("q", "")
        least = LEVELS.get(level, LEVELS["DEBUG"])
        found = self._ports.log.lines(least, environment, text)
        lines = await asyncio.to_thread(lambda: list(islice(found, _MOST_LINES)))
        return await self._render(
            "logs.html",
            request,
            lines=lines,
            level=level,
            environment=environment,
            text=text,
            levels=LEVELS,
            environments=sorted(
                (one.info.identifier or name, name) for name, one in self._ports.snapshots.all().items()
            ),
            processes=self._ports.facts.processes,
        )

    async def settings(self, request: Request) -> Response:
        """Every option."""
        return await self._settings(request)

    async def _settings(self, request: Request, result: ReloadResult | None = None) -> Response:
        status = 409 if result is not None and result.problems else 200
        return await self._render(
            "settings.html",
            request,
            status,
            sections=by_section(self._ports.settings()),
            levels=LEVELS,
            level=self._ports.levels.default,
            environment_levels=self._ports.levels.environments,
            result=result,
        )

    async def set_level(self, request: Request) -> Response:
        """Change the log level."""
        form = await read_form(request)
        change_level(self._ports.levels, self._log, form.get("level", ""), form.get("environment", ""))
        return RedirectResponse("/settings", 303)

    async def reload(self, request: Request) -> Response:
        """Reload the options."""
        return await self._settings(request, await asyncio.to_thread(self._ports.reload))

    async def login(self, request: Request) -> Response:
        """The login form."""
        if self._access.open:
            return RedirectResponse("/", 303)
        after = _own_path(request.query_params.get("next", "/"))
        return await self._render("login.html", request, after=after, problem="")

    async def log_in(self, request: Request) -> Response:
        """Check the token and start a session."""
        form = await read_form(request)
        after, address = _own_path(form.get("next", "/")), client_address(request)
        if self._access.tries.too_many(address):
            problem = "Too many wrong tokens: wait a minute."
            return await self._render("login.html", request, 429, after=after, problem=problem)
        if not self._access.matches(form.get("token", "")):
            self._access.tries.note(address)
            self._log.warning("a login to the admin address failed", address=address)
            problem = "This is not the token. It is the value of the option admin-token."
            return await self._render("login.html", request, 401, after=after, problem=problem)
        response = RedirectResponse(after, 303)
        response.set_cookie(
            COOKIE,
            self._access.begin_session(),
            max_age=int(SESSION_SECONDS),
            httponly=True,
            samesite="strict",
        )
        return response

    async def log_out(self, request: Request) -> Response:
        """End the session."""
        self._access.end_session(request)
        response = RedirectResponse("/login", 303)
        response.delete_cookie(COOKIE, httponly=True, samesite="strict")
        return response

    async def live(self, request: Request) -> Response:
        """The event stream for open pages."""
        del request
        return self._live.response()

    def _failing(self, page: Page) -> Page:
        async def answered(request: Request) -> Response:
            try:
                return await page(request)
            except RequestError as error:
                return await self.problem(request, error.status, error.message)

        return answered

    async def problem(self, request: Request, status: int, message: str) -> Response:
        """An error page."""
        return await self._render("problem.html", request, status, message=message, code=status)

    async def _render(self, name: str, request: Request, status: int = 200, **facts: object) -> Response:
        template = self._templates.get_template(name)
        common = {
            "path": request.url.path,
            "facts": self._ports.facts,
            "readiness": self._ports.readiness(),
            "session": not self._access.open,
            "now": self._ports.clock.wall(),
            "chart_size": (WIDTH, HEIGHT),
        }
        html = await asyncio.to_thread(template.render, **common, **facts)
        return HTMLResponse(html, status)


def _own_path(text: str) -> str:
    """``text`` if it is a path on this server, else ``/``: prevents open redirects."""
    own = text.startswith("/") and not text.startswith("//")
    return text if own and "\\" not in text and text.isprintable() else "/"
