"""Runs the shell lines of a page as a reader does: in their order, on the ports that they name.

Each page has a network of its own (loopback only, `unshare --net`), so ports are free, and what is started
is gone with it. A line that starts a server is run in the background, in place of an earlier one on its port;
the next line waits until it is ready.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from tests.support.docs_blocks import blocks

SHELL: Final = "sh"
_WITHIN: Final = 100.0
_SERVERS: Final = (
    (re.compile(r"^ff-proxy sandbox(?! \w)"), "7100"),
    (re.compile(r"^ff-proxy(?= -)(?!.* -(generate-offline-config|version)\b)"), "7000"),
    (re.compile(r"^redis-server\b"), "6379"),
)
_MEANT: Final = {
    "YOUR_ACCOUNT": "sandbox_account",
    "YOUR_ORG": "default",
    "YOUR_SERVICE_TOKEN": "sandbox-admin-token",
    "YOUR_SERVER_KEY": "sandbox-dev-server-key",
    "YOUR_ADMIN_TOKEN": "an-admin-token-that-nobody-guesses",
}
_HARNESS: Final = """
ff-proxy sandbox -port 7199
cat > .env <<'END'
ACCOUNT_IDENTIFIER=sandbox_account
ORG_IDENTIFIER=default
ADMIN_SERVICE_TOKEN=sandbox-admin-token
API_KEYS=sandbox-dev-server-key
END
export ADMIN_SERVICE=http://127.0.0.1:7199/gateway/cf
export CLIENT_SERVICE=http://127.0.0.1:7199/api/1.0 METRIC_SERVICE=http://127.0.0.1:7199/api/1.0
export SDK_BASE_URL=http://127.0.0.1:7199/api/1.0
"""
"""In place of Harness, which cannot be reached from there; options in variables win over `.env`."""
_SETTINGS: Final = "set -a; . ./.env; set +a\n"
_CONFIG: Final = "ff-proxy -generate-offline-config -config-dir config -env-file .env\n"
BEFORE: Final = {
    "README.md": _HARNESS,
    "docs/quick-start.md": _HARNESS,
    "docs/configuration.md": _HARNESS,
    "docs/admin.md": _HARNESS + _SETTINGS,
    "docs/modes.md": _HARNESS,
    "docs/offline.md": _HARNESS,
    "docs/tls.md": _HARNESS + _CONFIG,
    "docs/redis.md": _HARNESS + _SETTINGS + "redis-server --save '' --loglevel warning\n",
    "docs/debugging.md": "ff-proxy sandbox -proxy\n",
    "docs/upgrade.md": "ff-proxy sandbox -proxy\n",
    "docs/network.md": "",
    "docs/sandbox.md": "",
}
"""The pages whose shell lines are run, with what is there before their first line."""
_SETUP: Final = r"""
set -euo pipefail
ip link set lo up
declare -A holder
is_ready() { curl -skf -m 5 -o /dev/null "$1/health/ready"; }
listens() {
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null || return 1
    [ "$1" != 7000 ] || is_ready "http://127.0.0.1:$1" || is_ready "https://127.0.0.1:$1"
}
serve() {  # PORTS COMMAND...
    { set +x; } 2>/dev/null
    local ports=$1 port; shift
    for port in $ports; do
        if [ -n "${holder[$port]:-}" ]; then
            kill "${holder[$port]}" || true
            wait "${holder[$port]}" || true
        fi
    done
    "$@" >>"$LOGS" 2>&1 &
    for port in $ports; do
        holder[$port]=$!
        until listens "$port"; do
            kill -0 $! || { echo "it ended: $*" >&2; exit 1; }
            sleep 0.1
        done
    done
    set -x
}
set -x
"""


def missing_programs(page: str) -> Sequence[str]:
    """What this page's lines call and this machine lacks."""
    wanted = ["curl", "ip", "unshare", *(["redis-server", "redis-cli"] if page == "docs/redis.md" else [])]
    return [name for name in wanted if shutil.which(name) is None]


def run_page(page: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the shell lines of ``page`` in ``folder``; what fails is at the end of its standard error.

    A TOML block is a file of options, called as its first line says, that the proxy has to take.
    """
    lines = [line for block in blocks(page) if block.language == SHELL for line in block.text.splitlines()]
    for block in blocks(page):
        if block.language == "toml":
            name = block.text.splitlines()[0].removeprefix("# ").split(",")[0]
            (folder / name).write_text(_as_meant(block.text))
            lines.append(f"ff-proxy print-config -config {name}")
    script = "\n".join([_SETUP, *_served([*BEFORE[page].splitlines(), *lines])])
    log = folder / "servers.log"
    environ = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(folder),
        "LOGS": str(log),
        "NO_PROXY": "*",
    }
    command = ["unshare", "--net", "--pid", "--fork", "--kill-child", *_as_root(), "bash", "-c", script]
    done = subprocess.run(
        command, cwd=folder, env=environ, capture_output=True, text=True, timeout=_WITHIN, check=False
    )
    if done.returncode and log.exists():
        done.stderr += f"\nservers said:\n{log.read_text(errors='replace')[-3000:]}"
    return done


def _as_root() -> list[str]:
    return [] if os.geteuid() == 0 else ["--map-root-user"]


def _as_meant(text: str) -> str:
    for placeholder, value in _MEANT.items():
        text = text.replace(placeholder, value)
    return text


def _served(lines: Sequence[str]) -> Iterator[str]:
    """The lines with placeholders filled in, and those that start a server in the background."""
    command: list[str] = []
    for line in lines:
        command.append(_as_meant(line))
        if line.endswith("\\"):
            continue
        whole = "\n".join(command)
        command = []
        ports = _ports(whole)
        yield f"serve '{ports}' {whole}" if ports else whole


def _ports(command: str) -> str:
    for pattern, usual in _SERVERS:
        if pattern.match(command):
            given = re.search(r" -port[ =](\d+)", command)
            return f"{given[1] if given else usual}{' 7000' if ' -proxy' in command else ''}"
    return ""
