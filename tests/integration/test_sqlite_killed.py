"""A data directory survives whatever ends its process, at any moment."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from random import Random

from ff_proxy.store.sqlite import SqliteStore
from ff_proxy.telemetry import null_telemetry
from tests.support.clock import FakeClock
from tests.support.configs import ENVIRONMENT

WRITER = textwrap.dedent("""
    import asyncio, sys
    from pathlib import Path
    from ff_proxy.model.target import Target
    from ff_proxy.model.usage import UsageCount, UsageKey
    from ff_proxy.store.protocol import PutItem, Registration
    from ff_proxy.store.sqlite import SqliteStore
    from ff_proxy.telemetry import null_telemetry
    from tests.support.clock import FakeClock
    from tests.support.configs import ENVIRONMENT, config, flag

    async def main():
        async with SqliteStore(Path(sys.argv[1]), "w", FakeClock(), null_telemetry()) as store:
            await store.configs.replace(config(flag()))
            begin = (await store.configs.environment(ENVIRONMENT)).flags["checkout"].version
            for number in range(begin + 1, 1_000_000):
                await store.configs.apply(ENVIRONMENT, PutItem(flag(on=bool(number % 2), version=number)))
                target = Target(f"{sys.argv[2]}-{number}", "n")
                await store.targets.put(ENVIRONMENT, target)
                await store.registrations.add(Registration(ENVIRONMENT, target))
                await store.usage.merge([UsageCount(UsageKey(ENVIRONMENT, "FFMETRICS", ()), 1, 1)], [])
                print(number, flush=True)

    asyncio.run(main())
""")


async def test_a_process_killed_again_and_again_loses_nothing_that_it_acknowledged(tmp_path: Path) -> None:
    """Kill -9 in the middle of writing: the file opens, and everything said to be stored is there, once."""
    random = Random(5)
    said: dict[str, int] = {}
    total = 0
    for life in ("a", "b", "c", "d", "e", "f"):
        numbers = await asyncio.to_thread(_numbers_said, tmp_path, life, random.randrange(1, 60))
        said[life], total = numbers[-1], total + len(numbers)
        async with SqliteStore(tmp_path, "one", FakeClock(), null_telemetry(), name="ff-proxy") as store:
            held = await store.configs.environment(ENVIRONMENT)
            assert held is not None
            assert json.loads(held.flags["checkout"].wire)["version"] >= said[life]
            for name, last in said.items():
                assert await store.targets.get(ENVIRONMENT, f"{name}-{last}") is not None
            assert (
                await store._database.run(lambda c: c.execute("PRAGMA integrity_check").fetchone()[0]) == "ok"
            )
    async with SqliteStore(tmp_path, "one", FakeClock(), null_telemetry(), name="ff-proxy") as store:
        waiting = {entry.target.identifier for entry in await store.registrations.take(ENVIRONMENT, 10_000)}
        assert {f"{name}-{last}" for name, last in said.items()} <= waiting
        lease = await store.usage.take(ENVIRONMENT, 10)
        assert lease is not None
        # What was written when the process died may be there without having been said.
        assert total <= lease.counts[0].count <= total + len(said)


def _numbers_said(directory: Path, life: str, enough: int) -> list[int]:
    """What a writer says to have stored until it is killed, after ``enough`` of them."""
    root = Path(__file__).parents[2]
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(directory), life],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(root)},
        cwd=root,
    )
    assert writer.stdout is not None
    with writer.stdout as lines:
        numbers = [int(lines.readline()) for _ in range(enough)]
        writer.send_signal(signal.SIGKILL)
        numbers += [int(line) for line in lines.read().split()]
    writer.wait()
    return numbers
