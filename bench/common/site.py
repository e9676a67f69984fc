"""The proxy as its users run it: a process in front of a sandbox in another process."""

import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.common.environments import Made, write_offline
from bench.common.http import answers, expect
from bench.common.processes import HOST, Server, running
from tests.support.ports import free_port

_FF_PROXY = (sys.executable, "-m", "ff_proxy")


@dataclass(frozen=True, slots=True)
class Saas:
    """A running sandbox; ``options`` are those of a proxy in front of it, by name."""

    server: Server
    options: Mapping[str, str]

    def flip(self, flag: str, made: Made, serve: str) -> None:
        """Change what a flag serves by default, as a user would at Harness."""
        body = json.dumps({"flag": flag, "environment": made.id, "serve": serve}).encode()
        expect(200, self.server.port, "POST", "/sandbox/flip", body=body)


@dataclass(frozen=True, slots=True)
class Site:
    """A running proxy, the Harness that it follows, and what both hold as an offline ``directory``."""

    proxy: Server
    saas: Saas
    directory: Path
    tokens: dict[str, str] = field(default_factory=dict)

    def token(self, made: Made) -> str:
        """A token for an environment; always the same one."""
        if made.name not in self.tokens:
            body = json.dumps({"apiKey": made.key}).encode()
            answer = expect(200, self.proxy.port, "POST", "/client/auth", body=body)
            self.tokens[made.name] = json.loads(answer.body)["authToken"]
        return self.tokens[made.name]

    def bearer(self, made: Made) -> dict[str, str]:
        """The header field that carries it."""
        return {"Authorization": f"Bearer {self.token(made)}"}

    def raw(self, made: Made, path: str, headers: Mapping[str, str]) -> bytes:
        """A GET with a token, as it goes over the wire."""
        fields = {"Host": "bench", **self.bearer(made), **headers}
        lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
        return "\r\n".join([*lines, "", ""]).encode()

    def stream(self, made: Made) -> bytes:
        """A request that opens a stream."""
        return self.raw(made, "/stream?cluster=1", {"Accept": "text/event-stream", "API-Key": made.key})


@contextmanager
def sandbox(directory: Path, environments: Sequence[Made]) -> Iterator[Saas]:
    """A Harness with the environments of an offline directory."""
    port = free_port()
    command = [*_FF_PROXY, "sandbox", "-config-dir", str(directory), "-port", str(port)]
    url = f"http://{HOST}:{port}"
    options = {
        "account-identifier": "sandbox_account",
        "org-identifier": "default",
        "admin-service": f"{url}/gateway/cf",
        "admin-service-token": "sandbox-admin-token",
        "api-keys": ",".join(made.key for made in environments),
        "client-service": f"{url}/api/1.0",
        "metric-service": f"{url}/api/1.0",
        "sdk-base-url": f"{url}/api/1.0",
        "sdk-events-url": f"{url}/api/1.0",
    }
    with running("sandbox", command, port) as server:
        yield Saas(server, options)


def nowhere(keys: Sequence[str]) -> dict[str, str]:
    """The options of a proxy whose Harness cannot be reached."""
    away = f"http://{HOST}:1"
    services = ("admin-service", "client-service", "metric-service", "sdk-base-url", "sdk-events-url")
    return {
        "account-identifier": "bench",
        "org-identifier": "bench",
        "admin-service-token": "bench",
        "api-keys": ",".join(keys),
        # That it is away is said by the thousand.
        "log-level": "ERROR",
        **dict.fromkeys(services, away),
    }


@contextmanager
def proxy(
    options: Mapping[str, str], name: str = "ff-proxy", ready: Callable[[int], bool] | None = None
) -> Iterator[Server]:
    """A proxy with these options, ready; ``ready`` asks on its port, without TLS by default."""
    port = free_port()
    given = {
        "port": str(port),
        "admin-address": "off",
        "shutdown-delay": "0",
        "log-level": "WARNING",
        **options,
    }
    # As a variable, since there may be more keys than a line of arguments can hold.
    keys = {"API_KEYS": given.pop("api-keys")} if "api-keys" in given else {}
    command = [*_FF_PROXY, *(f"-{option}={value}" for option, value in given.items())]
    asks = ready or (lambda port: answers(port, "/health/ready"))
    with running(name, command, port, env=keys, ready=lambda: asks(port)) as server:
        yield server


@contextmanager
def site(
    environments: Sequence[Made], given: Mapping[str, str] | None = None, **options: str
) -> Iterator[Site]:
    """A proxy in front of a Harness with these environments.

    Its options are those ``given`` and ``options``, in which underscores stand for dashes.
    """
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        # A server of another user may have to read it.
        directory.chmod(0o755)
        write_offline(directory, environments)
        chosen = {option.replace("_", "-"): value for option, value in options.items()}
        with (
            sandbox(directory, environments) as saas,
            proxy({**saas.options, **(given or {}), **chosen}) as server,
        ):
            yield Site(server, saas, directory)
