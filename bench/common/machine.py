"""Which machine, and which versions of everything that takes part."""

import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

from bench.common.results import Machine

_PACKAGES = ("uvloop", "httptools", "msgspec", "uvicorn", "starlette", "redis", "hiredis", "mmh3")
_PROGRAMS = {
    "nginx": "-v",
    "wrk": "-v",
    "redis-server": "--version",
    "pushpin": "--version",
    "gcc": "--version",
}
_ROOT = Path(__file__).parents[2]


def machine() -> Machine:
    """This machine, now."""
    versions = {"python": platform.python_version()}
    versions |= {name: importlib.metadata.version(name) for name in ("ff-proxy", *_PACKAGES)}
    for program, argument in _PROGRAMS.items():
        if shutil.which(program):
            versions[program] = _version(program, argument)
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Machine(
        cores=len(os.sched_getaffinity(0)),
        processor=_processor(),
        memory_gb=round(pages / 1e9, 1),
        system=f"{platform.system()} {platform.release().partition('-')[0]}",
        versions=versions,
        load=round(os.getloadavg()[0], 1),
    )


def commit() -> str:
    """The short name of the commit that is checked out; with a ``+`` if what runs is not quite that.

    ``unknown`` where it cannot be told.
    """
    name = _git("rev-parse", "--short", "HEAD").strip()
    return f"{name}+" if _git("status", "--porcelain", "--", "src").strip() else name or "unknown"


def _git(*arguments: str) -> str:
    if shutil.which("git") is None:
        return ""
    done = subprocess.run(
        ["git", *arguments],
        cwd=_ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=False,
    )
    return done.stdout


def _version(program: str, argument: str) -> str:
    done = subprocess.run([program, argument], capture_output=True, text=True, check=False)
    found = re.search(r"\d+(\.\d+)+", done.stdout + done.stderr)
    return found[0] if found else "unknown"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
