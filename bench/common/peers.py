"""Peers: other servers, described by a file, that are asked the same as the proxy (bench/peers)."""

import json
import shutil
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from bench.common.environments import Made
from bench.common.http import expect
from bench.common.plan import BenchError
from bench.common.processes import Server, running
from bench.common.site import Site
from bench.common.wrk import Request
from tests.support.ports import free_port

DIRECTORY = Path(__file__).parents[1] / "peers"
NGINX = DIRECTORY / "nginx.toml"


class Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A request to a peer, for something that it offers differently from ff-proxy."""

    path: str
    method: str = "GET"
    headers: dict[str, str] = {}
    body: str | None = None


class TokenSource(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a peer gives tokens: a POST, and the field of its answer."""

    path: str
    body: str
    field: str


class Peer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The description of a peer; bench/peers/README.md explains every word."""

    name: str
    command: list[str]
    env: dict[str, str] = {}
    files: dict[str, str] = {}
    same: list[str] = []
    recorded: bool = False
    token: TokenSource | None = None
    requests: dict[str, Asked] = {}


@dataclass(frozen=True, slots=True)
class RunningPeer:
    """A peer that runs."""

    peer: Peer
    server: Server
    work: Path
    tokens: dict[str, str] = field(default_factory=dict)

    def request(self, kind: str, made: Made, ours: Request) -> Request | None:
        """What to ask it instead of ``ours``, a request of that ``kind``; ``None`` if it has none."""
        if kind in self.peer.same:
            return ours if self.peer.token is None else _with_token(ours, self._token(made))
        asked = self.peer.requests.get(kind)
        if asked is None:
            return None
        words = self._words(made)
        return Request(
            filled(asked.path, words),
            {name: filled(value, words) for name, value in asked.headers.items()}
            | {name: value for name, value in ours.headers.items() if name != "Authorization"},
            asked.method,
            None if asked.body is None else filled(asked.body, words),
            ours.several,
        )

    def record(self, request: Request, body: bytes) -> None:
        """Let it serve the proxy's answer, if it is a peer that serves recorded answers."""
        if self.peer.recorded:
            file = self.work / "recorded" / request.path.partition("?")[0].lstrip("/")
            # A path may be a list's, and the beginning of its items' paths: only one at a time can be a file.
            for above in file.parents:
                if above.is_file():
                    above.unlink()
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(body)

    def _words(self, made: Made) -> Mapping[str, str]:
        words = {"environment": made.id, "key": made.key, "flags": str(made.flags)}
        return words | {"token": self._token(made)} if self.peer.token is not None else words

    def _token(self, made: Made) -> str:
        source = self.peer.token
        if source is None:
            raise BenchError(f"{self.peer.name}: a token is asked for, and [token] does not say where")
        if made.name not in self.tokens:
            words = {"environment": made.id, "key": made.key, "flags": str(made.flags)}
            sent = filled(source.body, words).encode()
            answer = expect(200, self.server.port, "POST", filled(source.path, words), body=sent)
            self.tokens[made.name] = json.loads(answer.body)[source.field]
        return self.tokens[made.name]


def read_peer(path: Path) -> Peer:
    """A description; raises ``BenchError`` for one that cannot be used."""
    try:
        return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), Peer)
    except (OSError, ValueError) as error:
        raise BenchError(f"{path}: {error}") from error


@contextmanager
def running_peer(path: Path, site: Site) -> Iterator[RunningPeer]:
    """The peer described in ``path`` beside ``site``; raises ``BenchError`` if it does not start."""
    peer = read_peer(path)
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        work.chmod(0o755)  # its workers may be other users
        port = free_port()
        words = {"port": str(port), "work": str(work), "config": str(site.directory)}
        for file, template in peer.files.items():
            (work / file).write_text(filled((path.parent / template).read_text(encoding="utf-8"), words))
        command = [filled(word, words) for word in peer.command]
        if shutil.which(command[0]) is None:
            raise BenchError(f"{peer.name}: there is no {command[0]}")
        env = {key: filled(value, words) for key, value in peer.env.items()}
        with running(peer.name, command, port, env=env) as server:
            yield RunningPeer(peer, server, work)


def _with_token(request: Request, token: str) -> Request:
    headers = {**request.headers, "Authorization": f"Bearer {token}"}
    return Request(request.path, headers, request.method, request.body, request.several)


def filled(text: str, words: Mapping[str, str]) -> str:
    """``text`` with its words in braces replaced; other braces stay."""
    # Not str.format: bodies and configuration files are full of braces.
    for word, value in words.items():
        text = text.replace("{" + word + "}", value)
    return text
