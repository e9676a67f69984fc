"""The route table: from a raw path to its handler and the names in its template."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, final
from urllib.parse import unquote_to_bytes

import msgspec

from ff_proxy.http.handler import Handler
from ff_proxy.http.headers import canonical
from ff_proxy.http.response import Response, problem

_PARAMETER: Final = re.compile(r"\{(\w+)(\.\.\.)?\}")
# A validator selects between whole and unchanged, not between representations.
_NOT_IN_VARY: Final = frozenset({b"if-none-match"})


class Route(msgspec.Struct, frozen=True):
    """One template and how its requests are answered.

    Attributes:
        method: ``GET`` (``HEAD`` is answered by it) or ``POST``.
        template: such as ``/metrics/{env}``; ``{name}`` is one segment, ``{name...}`` any number of them.
        handler: answers.
        headers: the fields that its answers depend on, in lower case: it can read no others. Responses of a
            ``GET`` name them in ``Vary``, and are found again by their values.
        body_limit: the longest body that is handed to it, in bytes once decoded; 0: bodies are read off.
        share: whose part of the memory for bodies a request takes, by its parameters; by default its peer's.
        problem: makes the response to a refusal.
        spared: answered even while there are too many connections.
        streams: it answers with a ``Handover``, and there is no ``HEAD`` of it.
    """

    method: str
    template: str
    handler: Handler
    headers: tuple[bytes, ...] = ()
    body_limit: int = 0
    share: Callable[[Mapping[str, str]], str] | None = None
    problem: Callable[..., Response] = problem
    spared: bool = False
    streams: bool = False

    @property
    def vary(self) -> bytes:
        """The value of ``Vary``, or nothing."""
        if self.method != "GET":
            return b""
        return b", ".join(canonical(name) for name in self.headers if name not in _NOT_IN_VARY)


@final
class Match:
    """The routes of the template that a path fits, by method, and what the path names.

    Attributes:
        routes: by method; ``HEAD`` is there where ``GET`` is.
        template: theirs.
        label: the same as it is shown to people.
        open: it has a name of several segments, so that there are very many paths.
        params: percent-decoded once.
        raw_params: as sent.
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
    """All routes, found by the raw path: a decoded ``%2F`` would be a slash like any other.

    Slashes may be doubled, and one may trail. Earlier templates go before later ones.

    Args:
        routes: those.
        prefixes: each may stand in front, in this order, such as ``/api/1.0``.
    """

    def __init__(self, routes: Iterable[Route], prefixes: Sequence[str] = ()) -> None:
        self.all: Final = tuple(routes)
        templates = dict.fromkeys(route.template for route in self.all)
        self._templates: Final = tuple(_Template(template, self.all) for template in templates)
        front = "".join(f"(?:{_slashed(prefix)})?" for prefix in prefixes if prefix.strip("/"))
        patterns = "|".join(f"(?P<t{number}>{one.pattern})" for number, one in enumerate(self._templates))
        self._pattern: Final = re.compile(f"{front}(?:{patterns})/*".encode(), re.DOTALL)

    def match(self, path: bytes) -> Match | None:
        """What the raw ``path`` fits, or ``None``."""
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
            # Its own slashes count: it begins right behind one and ends right before one.
            pattern += "/(.*)"
            separator = "/"
        else:
            pattern += separator + "([^/]+)"
            separator = "/+"
    return pattern


def _slashed(prefix: str) -> str:
    return "".join("/+" + re.escape(segment) for segment in prefix.split("/") if segment)


def decoded(sent: bytes) -> str:
    """Percent-decoded once; ``%`` that begins no escape and ``+`` stand for themselves."""
    return (unquote_to_bytes(sent) if b"%" in sent else sent).decode("utf-8", "replace")
