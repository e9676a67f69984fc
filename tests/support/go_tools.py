"""Programs in Go that read what is shipped as its users' tools do; built once, kept in the user's cache."""

import fcntl
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.support.image import CACHE

_BUILD_SECONDS: Final = 850
_DOWNLOAD_SECONDS: Final = 300


@dataclass(frozen=True)
class GoTool:
    """A command of a Go module, at the version that the tests are written for."""

    module: str
    package: str
    version: str


COMPOSE: Final = GoTool("github.com/compose-spec/compose-go/v2", "cmd", "v2.16.2")
"""The loader that ``docker compose`` itself uses: checks a file, and prints it with everything filled in."""
HELM: Final = GoTool("helm.sh/helm/v3", "cmd/helm", "v3.19.0")
KUBECONFORM: Final = GoTool("github.com/yannh/kubeconform", "cmd/kubeconform", "v0.8.0")


def go_tool(tool: GoTool) -> Path:
    """The program; skips the test (in CI: fails it) where it cannot be built for want of Go."""
    place = CACHE / "bin" / f"{tool.module.replace('/', '-')}-{tool.version}"
    program = place / tool.package.rpartition("/")[2]
    if not program.exists():
        # The modules' own checksums are checked against the public record of them.
        _go(
            {"GOBIN": str(place)},
            "install",
            f"{tool.module}/{tool.package}@{tool.version}",
            seconds=_BUILD_SECONDS,
        )
    return program


def go_module(module: str, version: str) -> Path:
    """The directory of a module's files."""
    _go({}, "mod", "download", f"{module}@{version}", seconds=_DOWNLOAD_SECONDS)
    escaped = "".join(f"!{letter.lower()}" if letter.isupper() else letter for letter in module)
    return Path(_go({}, "env", "GOMODCACHE", seconds=30)) / f"{escaped}@{version}"


def _go(environ: Mapping[str, str], *arguments: str, seconds: float) -> str:
    program = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
    if program is None:
        pytest.skip("no go on PATH")
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "go.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = subprocess.run(
            [program, *arguments],
            env={**os.environ, "GOFLAGS": "-buildvcs=false -trimpath", **environ},
            cwd=CACHE,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    assert done.returncode == 0, f"go {' '.join(arguments)}: {done.stderr[-3000:]}"
    return done.stdout.strip()
