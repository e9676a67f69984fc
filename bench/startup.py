"""From the command to ready, and what an idle proxy holds in memory.

    python bench/startup.py [--repeats 3]

A data directory is filled with environments; the proxy is started on it with no Harness to be reached, so
that only the disk counts, and asked until it is ready. Memory is that of the process then (VmRSS).
"""

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # run as a script, Python looks in its own directory only

from bench.generate import environment
from ff_proxy.model.environment import EnvironmentConfig, EnvironmentInfo, Item
from ff_proxy.model.keys import EnvironmentId, hash_key
from ff_proxy.model.wire.normalise import normalise_flag, normalise_segment
from ff_proxy.runtime.clock import SystemClock
from ff_proxy.store.sqlite import SqliteStore
from ff_proxy.telemetry import null_telemetry
from tests.integration.harness import free_port

SIZES = ((1, 10), (1, 100), (100, 200), (1000, 30))


async def fill(directory: Path, environments: int, flags: int) -> None:
    """A data directory with that many environments of that many flags."""
    made = environment(seed=1, flags=flags)
    items = [item for doc in made["flags"] if isinstance(item := normalise_flag(doc), Item)]
    groups = [item for doc in made["segments"] if isinstance(item := normalise_segment(doc), Item)]
    async with SqliteStore(directory, "bench", SystemClock(), null_telemetry()) as store:
        for number in range(environments):
            await store.configs.replace(
                EnvironmentConfig(
                    EnvironmentInfo(EnvironmentId(f"00000000-0000-4000-8000-{number:012}")),
                    {item.identifier: item for item in items},
                    {item.identifier: item for item in groups},
                    frozenset({hash_key(f"key-{number}")}),
                )
            )


def start(directory: Path, environments: int) -> tuple[float, int]:
    """Seconds until ready, and kilobytes of memory then."""
    port = free_port()
    nowhere = "http://127.0.0.1:1"
    keys = ",".join(f"key-{number}" for number in range(environments))
    options = {
        "account-identifier": "a",
        "org-identifier": "o",
        "admin-service-token": "t",
        "admin-service": nowhere,
        "client-service": nowhere,
        "metric-service": nowhere,
        "sdk-base-url": nowhere,
        "data-dir": str(directory),
        "port": str(port),
        "admin-address": "off",
        "log-level": "ERROR",
    }
    command = [sys.executable, "-m", "ff_proxy", *(f"-{name}={value}" for name, value in options.items())]
    begun = time.perf_counter()
    process = subprocess.Popen(command, env={**os.environ, "API_KEYS": keys})
    try:
        while not _ready(port):
            if time.perf_counter() - begun > 60:
                sys.exit("not ready within a minute")
            time.sleep(0.005)
        took = time.perf_counter() - begun
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
        memory = next(line for line in status.splitlines() if line.startswith("VmRSS"))
        return took, int(memory.split()[1])
    finally:
        process.kill()
        process.wait()


def _ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=5):
            return True
    except OSError:
        return False


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    print(f"{'environments':>12} {'flags each':>11} {'ready s':>9} {'memory MB':>10}")
    for environments, flags in SIZES:
        with tempfile.TemporaryDirectory() as name:
            directory = Path(name)
            asyncio.run(fill(directory, environments, flags))
            runs = [start(directory, environments) for _ in range(given.repeats)]
        ready = statistics.median(took for took, _ in runs)
        memory = statistics.median(held for _, held in runs) / 1024
        print(f"{environments:>12} {flags:>11} {ready:>9.2f} {memory:>10.1f}")


if __name__ == "__main__":
    main()
