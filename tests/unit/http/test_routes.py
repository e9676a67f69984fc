"""Which route a raw path belongs to."""

import pytest

from ff_proxy.http.dispatcher import match_cost
from ff_proxy.http.headers import DeclaredHeaders, UndeclaredHeaderError, canonical
from ff_proxy.http.request import Request
from ff_proxy.http.response import Response, empty_response
from ff_proxy.http.routes import Route, Routes

TEMPLATES = [
    ("POST", "/client/auth"),
    ("GET", "/client/env/{env}/feature-configs"),
    ("GET", "/client/env/{env}/feature-configs/{id}"),
    ("GET", "/client/env/{env}/target-segments/{id}"),
    ("GET", "/client/env/{env}/target-segments"),
    ("GET", "/client/env/{env}/target/{target...}/evaluations"),
    ("GET", "/client/env/{env}/target/{target...}/evaluations/{flag}"),
    ("GET", "/stream"),
    ("GET", "/metrics"),
    ("POST", "/metrics/{env}"),
    ("GET", "/health"),
    ("GET", "/health/live"),
]


def answer(request: Request) -> Response:
    """Any handler."""
    del request
    return empty_response(200)


def table(*prefixes: str) -> Routes:
    """The templates as routes."""
    return Routes([Route(method, template, answer) for method, template in TEMPLATES], prefixes)


ROUTES = table("/api/1.0")
FLAGS = "/client/env/{env}/feature-configs"
FLAG = FLAGS + "/{id}"
SEGMENTS = "/client/env/{env}/target-segments"
ALL = "/client/env/{env}/target/{target...}/evaluations"
ONE = ALL + "/{flag}"


@pytest.mark.parametrize(
    ("path", "template", "params"),
    [
        (b"/client/auth", "/client/auth", {}),
        (b"//client/auth", "/client/auth", {}),
        (b"/client//auth/", "/client/auth", {}),
        (b"/api/1.0/client/auth", "/client/auth", {}),
        (b"//api//1.0//stream", "/stream", {}),
        (b"/health", "/health", {}),
        (b"/health/live", "/health/live", {}),
        (b"/metrics", "/metrics", {}),
        (b"/metrics/e", "/metrics/{env}", {"env": "e"}),
        (b"/client/env/e/feature-configs/", FLAGS, {"env": "e"}),
        (b"/client/env/e/feature-configs/f", FLAG, {"env": "e", "id": "f"}),
        (b"/client/env/feature-configs/target-segments", SEGMENTS, {"env": "feature-configs"}),
        (b"/client/env/a%20b/feature-configs/a%2Fb", FLAG, {"env": "a b", "id": "a/b"}),
        (b"/client/env/e/target/t/evaluations", ALL, {"env": "e", "target": "t"}),
        (b"/client/env/e/target/t/evaluations/f", ONE, {"env": "e", "target": "t", "flag": "f"}),
        (b"/client/env/e/target/a%2fb/evaluations", ALL, {"env": "e", "target": "a/b"}),
        (b"/client/env/e/target//a//evaluations", ALL, {"env": "e", "target": "/a/"}),
        (b"/client/env/e/target//evaluations", ALL, {"env": "e", "target": ""}),
        (
            b"/client/env/e/target/evaluations/evaluations/evaluations",
            ALL,
            {"env": "e", "target": "evaluations/evaluations"},
        ),
        (b"/client/env/e/target/%FF/evaluations", ALL, {"env": "e", "target": "\ufffd"}),
        (b"/client/env/e/target/%2520/evaluations", ALL, {"env": "e", "target": "%20"}),
        (b"/client/env/e/target/50%+/evaluations", ALL, {"env": "e", "target": "50%+"}),
    ],
)
def test_a_path_finds_its_template(path: bytes, template: str, params: dict[str, str]) -> None:
    """At the root and below the prefix, with repeated slashes or not; parameters are decoded once."""
    match = ROUTES.match(path)
    assert match is not None
    assert (match.template, dict(match.params)) == (template, params)


@pytest.mark.parametrize(
    "path",
    [
        b"",
        b"/",
        b"*",
        b"client/auth",
        b"/client",
        b"/client/env/e",
        b"/client/env//feature-configs",
        b"/client/env/e/feature-configs/a/b",
        b"/client/env/e/feature-configsx",
        b"/client/env/e/target/t",
        b"/client/env/e/target/t/evaluationsx",
        b"/client/env/e/target/t/evaluations/a/b",
        b"/client/env/e/targets/t/evaluations",
        b"/api/1.0",
        b"/api/1.0/api/1.0/stream",
        b"/api/1x0/stream",
        b"/streams",
        b"/metrics/e/f",
        b"/client%2Fauth",
        b"/CLIENT/AUTH",
    ],
)
def test_unknown_paths_match_nothing(path: bytes) -> None:
    """There is no fallback."""
    assert ROUTES.match(path) is None


@pytest.mark.parametrize("part", [b"/", b"/evaluations", b"/evaluations/", b"%2F"])
def test_a_long_path_is_matched_quickly(part: bytes) -> None:
    """Searching for the last ``/evaluations`` among very many ends soon."""
    assert ROUTES.match(b"/client/env/e/target/" + part * 20_000 + b"x/y/z") is None


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (b"/stream", True),
        (b"/flags/relay/stream", True),
        (b"/flags/stream", False),
        (b"//flags//relay//api//1.0//stream", True),
        (b"/flags/relay/api/1.0/stream", True),
        (b"/api/1.0/stream", True),
        (b"/api/1.0/flags/relay/stream", False),
        (b"/relay/stream", False),
    ],
)
def test_a_base_path_is_optional_on_all_routes(path: bytes, found: bool) -> None:
    """Routes stay available at the root too."""
    assert (table("/flags/relay/", "/api/1.0").match(path) is not None) is found


def test_methods() -> None:
    """``HEAD`` comes with ``GET``; other methods are 405, and ``Allow`` lists the valid ones."""
    match = ROUTES.match(b"/health")
    assert match is not None
    assert match.routes["GET"] is match.routes["HEAD"]
    assert "POST" not in match.routes
    assert match.allow == b"GET, HEAD, OPTIONS"


def test_vary_follows_from_the_declared_headers() -> None:
    """A validator does not select a representation."""
    declared = (b"authorization", b"accept-encoding", b"if-none-match")
    assert Route("GET", "/a", answer, headers=declared).vary == b"Authorization, Accept-Encoding"
    assert Route("POST", "/a", answer, headers=declared).vary == b""


def test_a_field_that_is_not_declared_cannot_be_read() -> None:
    """Whether the request has it or not."""
    headers = DeclaredHeaders({b"a": b"1", b"b": b"2"}, (b"a", b"c"))
    assert headers.get(b"a") == b"1"
    assert headers.get(b"c") is None
    for name in (b"b", b"d"):
        with pytest.raises(UndeclaredHeaderError):
            headers.get(name)


@pytest.mark.parametrize(
    ("name", "written"),
    [
        (b"content-type", b"Content-Type"),
        (b"ETAG", b"Etag"),
        (b"x-request-id", b"X-Request-Id"),
        (b"www-authenticate", b"Www-Authenticate"),
        (b"vary", b"Vary"),
    ],
)
def test_names_are_written_as_go_writes_them(name: bytes, written: bytes) -> None:
    """Each word is capitalised."""
    assert canonical(name) == written


def test_the_cost_of_a_match_excludes_its_handler() -> None:
    """A handler may refer to everything that is served."""

    class Handler:
        def __init__(self) -> None:
            self.everything = bytes(1_000_000)

        def answer(self, request: Request) -> Response:
            del request
            return empty_response(200)

    path = b"/client/env/e/feature-configs"
    match = Routes([Route("GET", FLAGS, Handler().answer)]).match(path)
    assert match is not None
    assert match_cost(path, match) < 10_000
