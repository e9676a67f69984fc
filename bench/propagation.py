"""From a flip at Harness to the event at an SDK, through the proxy.

    python bench/propagation.py [--flips 30] [--streams 1000]

The sandbox plays Harness, in this process; the proxy is a process of its own. Printed are milliseconds from
the flip until a stream's event was followed by a fetch that has the new version: with one stream open, and
with many (the one that is measured among them).
"""

import argparse
import asyncio
import resource
import statistics
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # run as a script, Python looks in its own directory only

from ff_proxy.sandbox.seed import default_environments
from tests.integration.harness import Proxy, online_options, sandbox
from tests.support.sdk_like import DEV, KEYS, SdkLike


async def measure(flips: int, streams: int, directory: Path) -> list[float]:
    """Milliseconds of each flip."""
    took = []
    async with sandbox(*default_environments()) as saas, AsyncExitStack() as stack:
        options = online_options(saas, KEYS.values())
        proxy = await stack.enter_async_context(Proxy.running(options, directory / f"{streams}.log"))
        client = await stack.enter_async_context(SdkLike.connected(proxy.url, KEYS[DEV]))
        await saas.streams.until(lambda count: count == len(KEYS))
        for _ in range(streams - 1):
            await stack.enter_async_context(client.stream())
        stream = await stack.enter_async_context(client.stream())
        for _ in range(flips):
            begun = time.perf_counter()
            change = saas.state.flip("development", "dark_mode")
            while (await stream.event())["version"] != change.version:
                pass
            answer = await client.get("/feature-configs/dark_mode")
            took.append((time.perf_counter() - begun) * 1000)
            assert answer.json()["version"] == change.version
            await asyncio.sleep(0.1)
    return took


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flips", type=int, default=30)
    parser.add_argument("--streams", type=int, default=1000)
    given = parser.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, hard), hard))
    print(f"{'streams':>8} {'median ms':>10} {'p99 ms':>8} {'max ms':>8}")
    with tempfile.TemporaryDirectory() as directory:
        for streams in (1, given.streams):
            took = sorted(asyncio.run(measure(given.flips, streams, Path(directory))))
            high = took[min(len(took) - 1, round(len(took) * 0.99))]
            print(f"{streams:>8} {statistics.median(took):>10.1f} {high:>8.1f} {took[-1]:>8.1f}")


if __name__ == "__main__":
    main()
