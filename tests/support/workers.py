"""A proxy of several processes, and its processes by name."""

import json
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Final

from tests.integration.harness import Proxy
from tests.support.sdk_like import eventually

SYNC: Final = "sync"


def pids(proxy: Proxy) -> dict[str, int]:
    """The process ids of its children by name, as the supervisor has told last."""
    found: dict[str, int] = {}
    for line in proxy.log.read_text().splitlines():
        with suppress(ValueError):
            said = json.loads(line)
            if said["event"] == "process started":
                found[said["of"]] = said["pid"]
    return found


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits to be noticed does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


async def kill(proxy: Proxy, name: str) -> None:
    """End one of its processes as the system does when memory runs out, and wait for its successor."""
    before = pids(proxy)[name]
    os.kill(before, signal.SIGKILL)

    async def succeeded() -> bool:
        return pids(proxy)[name] != before

    await eventually(succeeded)
