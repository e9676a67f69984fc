"""Another program may answer at the address that a command is given: an error says so."""

import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from hypothesis import given, settings
from hypothesis import strategies as st

from ff_proxy.commands.explain import explain
from ff_proxy.commands.registry import Run
from ff_proxy.commands.sandbox_flags import flip, list_flags
from ff_proxy.errors import FfProxyError

NAMES = ("id", "identifier", "loaded", "project", "organization", "message", "flags", "feature", "authToken")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(0, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5),
    max_leaves=8,
)


@contextmanager
def answering(status: int, body: bytes) -> Iterator[str]:
    """The address of a server that always gives this answer."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815  (as the library has it)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


COMMANDS = (
    (list_flags, ()),
    (list_flags, ("-environment=e",)),
    (flip, ("f",)),
    (explain, ("-flag=f", "-target=t")),
    (explain, ("-flag=f", "-target=t", "-api-keys=k")),
)


@settings(max_examples=40)
@given(asked=st.sampled_from(COMMANDS), status=st.sampled_from([200, 404, 500]), content=JSON)
def test_whatever_answers_the_command_ends_with_an_error_of_ours(
    asked: tuple[Run, tuple[str, ...]], status: int, content: object
) -> None:
    """Or with what it found: a list without environments is one."""
    command, words = asked
    with answering(status, json.dumps(content).encode()) as url:
        try:
            code = command([*words, f"-url={url}"], {}, io.StringIO())
        except FfProxyError:
            return
    assert (command, code, content) == (list_flags, 0, [])
