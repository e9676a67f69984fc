"""Harness as the image finds it without being told where: the sandbox, behind Harness' own names and TLS."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.support.certificates import sign_certificate
from tests.support.config_ways import UNGUESSABLE
from tests.support.containers import Mount, Network, Spec
from tests.support.image import Image, company_authority

NAMES: Final = ("app.harness.io", "config.ff.harness.io", "events.ff.harness.io")
NOBODY: Final = 65534
HOST_PATH: Final = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}

# What a user of the built-in environments would fill in.
SHELL: Final[Mapping[str, str]] = {
    "MY_SERVICE_TOKEN": "sandbox-admin-token",
    "MY_ACCOUNT_IDENTIFIER": "sandbox_account",
    "MY_ORG_IDENTIFIER": "default",
    "ENV_1_KEY": "sandbox-dev-server-key",
    "ENV_2_KEY": "sandbox-prod-server-key",
    "ENV_3_KEY": "sandbox-office-server-key",
    "ANY_AUTH_SECRET": UNGUESSABLE,
    "REDIS_ADDRESS": "redis:6379",
}
ENV_FILE: Final[Mapping[str, str]] = {
    "ACCOUNT_IDENTIFIER": SHELL["MY_ACCOUNT_IDENTIFIER"],
    "ORG_IDENTIFIER": SHELL["MY_ORG_IDENTIFIER"],
    "ADMIN_SERVICE_TOKEN": SHELL["MY_SERVICE_TOKEN"],
    "AUTH_SECRET": SHELL["ANY_AUTH_SECRET"],
    "API_KEYS": f"{SHELL['ENV_1_KEY']},{SHELL['ENV_2_KEY']}",
}

_NGINX: Final = """
daemon off; pid /tmp/nginx.pid; error_log /dev/stderr; worker_processes 1;
events {}
http {
    access_log off;
    server {
        listen 443 ssl;
        ssl_certificate /tls/server.crt;
        ssl_certificate_key /tls/server.key;
        location / {
            proxy_pass http://saas:7100;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
        }
    }
}
"""


def complaints(said: str, levels: Sequence[str] = ("warning", "error")) -> list[str]:
    """Lines of a proxy's log that somebody should look at, but for what a busy machine does to it."""
    lines = [line for line in said.splitlines() if line.startswith("{")]
    assert lines, said
    records = [json.loads(line) for line in lines]
    return [
        line
        for line, record in zip(lines, records, strict=True)
        if record["level"] in levels and "event loop" not in record["event"]
    ]


def start_harness(network: Network, image: Image, directory: Path) -> None:
    """The sandbox as ``saas:7100``, and the same as Harness' own addresses."""
    certificate, _ = sign_certificate(directory / "tls", NAMES, company_authority())
    (directory / "nginx.conf").write_text(_NGINX)
    start_sandbox(network, image)
    harness = network.run(
        Spec(
            "harness",
            Path("/"),
            ["nginx", "-c", "/nginx.conf"],
            HOST_PATH,
            [Mount(certificate.parent, "/tls"), Mount(directory / "nginx.conf", "/nginx.conf")],
            capabilities=True,
            aliases=NAMES,
        )
    )
    network.until_ok(harness, "--insecure", f"https://{NAMES[0]}/sandbox/environments")


def start_sandbox(network: Network, image: Image) -> None:
    """The sandbox from the image, as ``saas:7100``."""
    command = [*image.config["Entrypoint"], "sandbox", "-host=0.0.0.0"]
    spec = Spec("saas", image.root, command, image.environ, user=NOBODY, group=NOBODY, read_only=True)
    network.until_ok(network.run(spec), "http://saas:7100/sandbox/environments")


def start_redis(network: Network, *arguments: str) -> None:
    """A Redis as ``redis:6379``."""
    command = ["redis-server", "--bind", "0.0.0.0", "--protected-mode", "no", "--save", "", *arguments]
    network.run(Spec("redis", Path("/"), command, HOST_PATH))
