"""health and ready ask the proxy on this machine, and answer a container with an exit code."""

import io
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from ff_proxy.commands import local_proxy
from ff_proxy.commands.command_line import JsonOptions, flags_of_the_container, read_as_in_container
from ff_proxy.commands.health_probe import health, probe, ready
from ff_proxy.config.settings import Settings, read_settings
from ff_proxy.errors import ConfigError, ExitCode
from tests.support.certificates import make_certificate

lives = partial(probe, "health", "/health/live")
is_ready = partial(probe, "ready", "/health/ready")


class _Answers(BaseHTTPRequestHandler):
    """Alive but not ready."""

    def do_GET(self) -> None:
        status, body = {"/health/live": (200, b'{"status":\n "ok"}'), "/health/ready": (503, b"{}")}[
            self.path
        ]
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the base class's name)
        """Say nothing."""


@contextmanager
def serving(tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """A server on a port of the system's choice."""
    with HTTPServer(("127.0.0.1", 0), _Answers) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def settings(port: int, **environ: str) -> Settings:
    """Settings as a container's environment makes them."""
    return read_settings([], {"PORT": str(port), **environ})


def test_health_asks_whether_it_lives_and_ready_whether_it_serves() -> None:
    """One line each, exit code 0 for 200 and 1 for anything else."""
    out = io.StringIO()
    with serving() as port:
        assert health([f"-port={port}"], {}, out) == ExitCode.OK
        assert ready([f"-port={port}"], {}, out) == ExitCode.CRASH
    assert out.getvalue() == 'health: 200 {"status": "ok"}\nready: 503 {}\n'


def test_nobody_there_is_not_alive() -> None:
    """A line that says whom it asked."""
    with serving() as port:
        pass
    out = io.StringIO()
    assert lives(settings(port), out) == 1
    assert out.getvalue().startswith(f"health: no answer from 127.0.0.1:{port}: ")


def test_a_server_that_says_nothing_is_not_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wait is bounded."""
    monkeypatch.setattr(local_proxy, "PATIENCE", 0.05)
    with HTTPServer(("127.0.0.1", 0), _Answers) as silent:
        assert lives(settings(silent.server_port), io.StringIO()) == ExitCode.CRASH


def test_a_server_with_tls_is_asked_with_tls(tmp_path: Path) -> None:
    """Its certificate is for another name than loopback, and that does not matter here."""
    certificate, key = make_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with serving(context) as port:
        assert lives(settings(port, TLS_ENABLED="true"), io.StringIO()) == ExitCode.OK
        assert lives(settings(port), io.StringIO()) == ExitCode.CRASH


def test_a_server_that_asks_for_certificates_is_shown_its_own(tmp_path: Path) -> None:
    """With mutual TLS the proxy's own certificate is the one at hand; its authority has to know it."""
    certificate, key = make_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(certificate)
    context.verify_mode = ssl.CERT_REQUIRED
    tls = {"TLS_ENABLED": "true", "TLS_CERT": str(certificate), "TLS_KEY": str(key)}
    with serving(context) as port:
        assert lives(settings(port, **tls, TLS_CLIENT_CA=str(certificate)), io.StringIO()) == ExitCode.OK
        assert lives(settings(port, **tls), io.StringIO()) == ExitCode.CRASH


class _SocketServer(HTTPServer):
    """HTTP over a Unix socket."""

    address_family = socket.AF_UNIX

    def server_bind(self) -> None:
        """As HTTPServer's, which wants host and port."""
        self.socket.bind(self.server_address)
        self.server_name, self.server_port = "localhost", 0

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        """A client of a socket has no address."""
        return self.socket.accept()[0], ("", 0)


@contextmanager
def serving_socket(path: Path, tls: ssl.SSLContext | None = None) -> Iterator[None]:
    """A server on a Unix socket."""
    with _SocketServer(str(path), _Answers) as server:  # type: ignore[arg-type]  # a path
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


def test_a_unix_socket_is_asked(tmp_path: Path) -> None:
    """With TLS and without; the port does not matter then."""
    path = tmp_path / "proxy.sock"
    out = io.StringIO()
    with serving_socket(path):
        assert lives(settings(0, HOST=f"unix:{path}"), out) == ExitCode.OK
    path.unlink()
    assert lives(settings(0, HOST=f"unix:{path}"), out) == ExitCode.CRASH
    assert f"health: no answer from unix:{path}: [Errno 2]" in out.getvalue()
    certificate, key = make_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with serving_socket(path, context):
        assert lives(settings(0, HOST=f"unix:{path}", TLS_ENABLED="true"), out) == ExitCode.OK


@pytest.mark.parametrize(
    ("host", "place"),
    [
        (None, "127.0.0.1:1"),
        ("0.0.0.0", "127.0.0.1:1"),
        ("::", "[::1]:1"),
        ("localhost", "localhost:1"),
        ("127.0.0.5", "127.0.0.5:1"),
    ],
)
def test_the_address_is_that_of_the_options(host: str | None, place: str) -> None:
    """An address that stands for all of them is asked on loopback."""
    out = io.StringIO()
    assert lives(settings(1, **({} if host is None else {"HOST": host})), out) == ExitCode.CRASH
    assert f"no answer from {place}: " in out.getvalue()


def test_a_base_path_changes_nothing() -> None:
    """What is served below it is served at the root as well, whatever a gateway in front cuts off."""
    with serving() as port:
        assert lives(settings(port, BASE_PATH="/flags"), io.StringIO()) == ExitCode.OK


def test_options_that_cannot_be_used_are_problems() -> None:
    """The proxy would not start with them either; and a port of the system's choice is unknown here."""
    with pytest.raises(ConfigError):
        lives(read_settings(["-port=x"], {}), io.StringIO())
    with pytest.raises(ConfigError, match="port: must be a port that is known"):
        is_ready(settings(0), io.StringIO())


@pytest.mark.parametrize(
    ("command_line", "flags"),
    [
        (
            b"/opt/x/bin/python\0/opt/x/bin/ff-proxy\0-port\08000\0-api-keys=\0",
            ["-port", "8000", "-api-keys="],
        ),
        (b"/sbin/docker-init\0--\0ff-proxy\0-tls-enabled\0", ["-tls-enabled"]),
        (b"ff-proxy\0", []),
        (b"/lib/systemd/systemd\0--system\0", []),
        (b"", []),
    ],
)
def test_in_a_container_the_flags_are_those_of_process_one(
    tmp_path: Path, command_line: bytes, flags: list[str]
) -> None:
    """``docker run … -port 8000`` is told to the proxy, and to no probe."""
    (tmp_path / "cmdline").write_bytes(command_line)
    assert flags_of_the_container(tmp_path / "cmdline") == flags


@pytest.mark.parametrize("json_flag", ["-json", "--json", "-json=true", "--json=1"])
def test_a_probes_own_flag_does_not_hide_those_of_process_one(tmp_path: Path, json_flag: str) -> None:
    """However it is written; a flag of the proxy's does hide them."""
    (tmp_path / "cmdline").write_bytes(b"ff-proxy\0-port\x008000\0")
    for argv, port in (
        ([json_flag], 8000),
        ([json_flag, "-port=9000"], 9000),
        ([json_flag, "-host=x"], 7000),
    ):
        read = read_as_in_container(argv, {}, JsonOptions, tmp_path / "cmdline")
        assert read is not None
        options, found = read
        assert (options.json, found["port"]) == (True, port)


def test_where_process_one_is_hidden_there_are_no_flags(tmp_path: Path) -> None:
    """Nor outside Linux."""
    assert flags_of_the_container(tmp_path / "absent") == []


def test_programs_read_json() -> None:
    """The same, whether somebody answers or not."""
    out = io.StringIO()
    with serving() as port:
        assert ready([f"-port={port}", "-json"], {}, out) == ExitCode.CRASH
    assert json.loads(out.getvalue()) == {
        "ok": False,
        "address": f"127.0.0.1:{port}",
        "status": 503,
        "answer": "{}",
        "error": "",
    }
    out = io.StringIO()
    assert health([f"-port={port}", "-json"], {}, out) == ExitCode.CRASH
    assert "refused" in json.loads(out.getvalue())["error"]
