"""The route table: finds the handler and the path parameters for a raw path."""

import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, final
from urllib.parse import unquote_to_bytes

import msgspec

from ff_proxy.http.handler import Handler
from ff_proxy.http.headers import canonical
from ff_proxy.http.response import Response, problem

NO_LIMIT: Final = sys.maxsize
"""A body limit."""

_PARAMETER: Final = re.compile(r"\{(\w+)(\.\.\.)?\}")
# A validator chooses between 200 and 304, not between representations.
_NOT_IN_VARY: Final = frozenset({b"if-none-match"})


class Route(msgspec.Struct, frozen=True):
    """One template and how its requests are answered.

    Attributes:
        method: ``GET`` (which also answers ``HEAD``) or ``POST``.
        template: such as ``/metrics/{env}``; ``{name}`` is one segment, ``{name...}`` any number of them.
        handler: answers the requests.
        headers: the header fields the answers depend on, in lower case; the handler can read no others. For
            a ``GET`` they make up ``Vary`` and the cache key.
        body_limit: the longest body for the handler, in bytes after decoding; 0: bodies are dropped,
            ``NO_LIMIT``: the server's limit alone decides.
        share: the share of the body budget a request is charged to, by its parameters; default: its peer.
        problem: makes the response for an error.
        over_limit: answered even on connections beyond the limit.
        streams: answers with a ``Handover``; has no ``HEAD``.
    """

    method: str
    template: str
    handler: Handler
    headers: tuple[bytes, ...] = ()
    body_limit: int = 0
    share: Callable[[Mapping[str, str]], str] | None = None
    problem: Callable[..., Response] = problem
    over_limit: bool = False
    streams: bool = False

    @property
    def vary(self) -> bytes:
        """The value of ``Vary``; empty if there is none."""
        if self.method != "GET":
            return b""
        return b", ".join(canonical(name) for name in self.headers if name not in _NOT_IN_VARY)


@final
class Match:
    """The template that a path matches, with its routes and the path parameters.

    Attributes:
        routes: by method; ``HEAD`` maps to the route of ``GET``.
        template: the routes' template.
        label: the template as shown in metrics and logs.
        open: a parameter spans several segments, so the number of paths is unbounded.
        params: the parameters, percent-decoded once.
        raw_params: the parameters as sent.
    """

    __slots__ = ("label", "open", "params", "raw_params", "routes", "template")

    def __init__(self, template: str, routes: Mapping[str, Route], raw_params: Mapping[str, bytes]) -> None:
        self.template: Final = template
        self.open: Final = "...}" in template
        self.label: Final = template.replace("...}", "}")
        self.routes: Final = routes
        self.raw_params: Final = raw_params
        self.params: Final = {name: decoded(sent) for name, sent in raw_params.items()}

    @property
    def allow(self) -> bytes:
        """The value of ``Allow``."""
        return ", ".join(sorted({*self.routes, "OPTIONS"})).encode()


class Routes:
    """Finds routes by the raw path, since a decoded ``%2F`` would look like a separator.

    Slashes may be repeated or trailing. Earlier templates take precedence.

    Args:
        routes: all routes.
        prefixes: optional path prefixes, such as ``/api/1.0``, in the order they may appear.
    """

    def __init__(self, routes: Iterable[Route], prefixes: Sequence[str] = ()) -> None:
        self.all: Final = tuple(routes)
        templates = dict.fromkeys(route.template for route in self.all)
        self._templates: Final = tuple(_Template(template, self.all) for template in templates)
        front = "".join(f"(?:{_slashed(prefix)})?" for prefix in prefixes if prefix.strip("/"))
        patterns = "|".join(f"(?P<t{number}>{one.pattern})" for number, one in enumerate(self._templates))
        self._pattern: Final = re.compile(f"{front}(?:{patterns})/*".encode(), re.DOTALL)

    def match(self, path: bytes) -> Match | None:
        """The match of a raw ``path``, or ``None``."""
        found = self._pattern.fullmatch(path)
        if found is None or found.lastgroup is None:
            return None
        template = self._templates[int(found.lastgroup[1:])]
        start = found.re.groupindex[found.lastgroup]
        raw = found.groups()[start : start + len(template.names)]
        return Match(template.text, template.routes, dict(zip(template.names, raw, strict=True)))


class _Template:
    def __init__(self, text: str, routes: Iterable[Route]) -> None:
        self.text: Final = text
        own = {route.method: route for route in routes if route.template == text}
        if "GET" in own and not own["GET"].streams:
            own["HEAD"] = own["GET"]
        self.routes: Final[Mapping[str, Route]] = own
        self.names: Final = tuple(name for name, _ in _PARAMETER.findall(text))
        self.pattern: Final = _pattern(text)


def _pattern(template: str) -> str:
    pattern = ""
    separator = "/+"
    for segment in template.strip("/").split("/"):
        parameter = _PARAMETER.fullmatch(segment)
        if parameter is None:
            pattern += separator + re.escape(segment)
            separator = "/+"
        elif parameter[2]:
            # Slashes inside the parameter count: it starts right after one and ends right before one.
            pattern += "/(.*)"
            separator = "/"
        else:
            pattern += separator + "([^/]+)"
            separator = "/+"
    return pattern


def _slashed(prefix: str) -> str:
    return "".join("/+" + re.escape(segment) for segment in prefix.split("/") if segment)


def decoded(sent: bytes) -> str:
    """Percent-decode once; ``+`` and an incomplete ``%`` escape are kept as they are."""
    return (unquote_to_bytes(sent) if b"%" in sent else sent).decode("utf-8", "replace")
