"""``python -m tests.chaos.steady_client PORT``: a well-behaved SDK in a process of its own, until stdin ends.

It asks for a flag again and again on one connection, for readiness on new ones, and prints what it was
answered and how long that took.
"""

import asyncio
import json
import sys
import time
from collections import Counter
from typing import Any, Final

from tests.chaos.world import readiness
from tests.support.sdk_like import DEV, KEYS, SdkLike

_PAUSE: Final = 0.01
_PATHS: Final = ("/feature-configs/dark_mode", "/feature-configs", "/target/ana/evaluations/dark_mode")


async def ask(port: int) -> dict[str, Any]:
    """Until stdin ends: how many of each status, and seconds of all answers."""
    over = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    statuses: Counter[str] = Counter()
    states: Counter[str] = Counter()
    seconds: list[float] = []
    async with SdkLike.connected(f"http://127.0.0.1:{port}", KEYS[DEV]) as client:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while not over.done():
            for path in _PATHS:
                began = time.perf_counter()
                statuses[str((await client.get(path)).status_code)] += 1
                seconds.append(time.perf_counter() - began)
                await asyncio.sleep(_PAUSE)
            status, state, _ = await readiness(client.url)
            states[f"{status} {state}"] += 1
    seconds.sort()
    return {
        "statuses": statuses,
        "states": states,
        "p50": seconds[len(seconds) // 2],
        "p99": seconds[len(seconds) * 99 // 100],
        "longest": seconds[-1],
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(ask(int(sys.argv[1])))) + "\n")
