"""The sandbox's page: every flag with a switch, for people."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl

import jinja2
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from ff_proxy.errors import RequestError
from ff_proxy.sandbox.environment import Environment, is_on, variations_of
from ff_proxy.sandbox.running import RunningSandbox

_TEMPLATE: Final = Path(__file__).with_name("page.html")
_SEE_OTHER: Final = 303


class Page:
    """Its two routes: the page, and the form of a switch. It works without JavaScript, and live with it."""

    def __init__(self, sandbox: RunningSandbox) -> None:
        self._sandbox = sandbox
        loader = jinja2.FileSystemLoader(_TEMPLATE.parent)
        self._templates = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)

    def routes(self) -> list[BaseRoute]:
        """Its routes."""
        return [
            Route("/", self._show, methods=["GET"]),
            Route("/sandbox/page", self._change, methods=["POST"]),
        ]

    async def _show(self, _: Request) -> Response:
        environments = [self._described(one) for one in self._sandbox.state.environments.values()]
        return HTMLResponse(self._templates.get_template(_TEMPLATE.name).render(environments=environments))

    async def _change(self, request: Request) -> Response:
        form = dict(parse_qsl((await request.body()).decode("utf-8", "replace")))
        try:
            self._sandbox.state.set(form.get("environment", ""), form.get("flag", ""), form.get("value", ""))
        except RequestError as error:
            return PlainTextResponse(error.message, error.status)
        return RedirectResponse("/", _SEE_OTHER)

    def _described(self, environment: Environment) -> Mapping[str, object]:
        info = environment.info
        return {
            "id": info.id,
            "name": info.identifier or info.id,
            "sdk_keys": environment.keys,
            "streams": self._sandbox.streams.count(info.id),
            "flags": [
                {
                    "identifier": identifier,
                    "name": document.get("name", identifier),
                    "kind": document.get("kind", ""),
                    "is_on": is_on(document),
                    "variations": variations_of(document),
                    "everyone": environment.everyone_gets(identifier),
                }
                for identifier, document in environment.flags.items()
            ],
        }
