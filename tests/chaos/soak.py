"""``python -m tests.chaos.soak [-seconds N]``: SDKs that come and go, and what of them is left in the end."""

import argparse
import asyncio
import json
import os
import random
import re
import signal
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

import httpx2
import msgspec

from tests.chaos.driver import ViolationError
from tests.chaos.records import write_record
from tests.chaos.truth import ENVIRONMENTS
from tests.chaos.world import Form, Usage, World, figure, times_held, world
from tests.support.sdk_like import KEYS, SdkLike

_CLIENTS: Final = 40
# What caches may still gain after the first third of the time, and what comes and goes by itself.
_GROWTH: Final = Usage(memory=24 * 1024 * 1024, files=8)
_TASKS: Final = 4


class SoakReport(msgspec.Struct, frozen=True):
    """What clients have done, and what there was of memory (bytes), files and tasks, early and in the end."""

    form: str
    seconds: float
    visits: int
    events: int
    posts: int
    memory_early: int
    memory_end: int
    files_early: int
    files_end: int
    tasks_early: int
    tasks_end: int
    held: int


class Soak:
    """One run against one proxy."""

    def __init__(self, made: World, seed: int) -> None:
        self._world = made
        self._chance = random.Random(seed)
        self._over = False
        self._visits = 0
        self._events = 0
        self._posts = 0

    async def run(self, seconds: float) -> SoakReport:
        """Churn for so long; ``ViolationError`` for growth, a refusal, or a loop that was held."""
        began = time.monotonic()
        await self._churn(seconds / 3)
        early, tasks_early = self._world.resources(), await self._tasks()
        await self._churn(seconds * 2 / 3)
        end, tasks_end = self._world.resources(), await self._tasks()
        held = await times_held(self._world)
        trouble = await self._world.trouble()
        report = SoakReport(
            form=self._world.form,
            seconds=round(time.monotonic() - began, 1),
            visits=self._visits,
            events=self._events,
            posts=self._posts,
            memory_early=early.memory,
            memory_end=end.memory,
            files_early=early.files,
            files_end=end.files,
            tasks_early=tasks_early,
            tasks_end=tasks_end,
            held=held,
        )
        grown = end.exceeds(early, _GROWTH) or tasks_end > tasks_early + _TASKS
        if grown or held or trouble:
            raise ViolationError(f"{report}; {trouble}")
        return report

    async def _churn(self, seconds: float) -> None:
        """Clients come and go for so long; in the end all of them are gone, and the proxy knows."""
        self._over = False
        tasks = [
            asyncio.create_task(self._client(random.Random(self._chance.random()))) for _ in range(_CLIENTS)
        ]
        end = time.monotonic() + seconds
        try:
            while time.monotonic() < end:
                self._world.truth.change(self._chance)
                failed = [task for task in tasks if task.done()]
                if failed:
                    failed[0].result()
                await asyncio.sleep(0.1)
            self._over = True
            async with asyncio.timeout(60):
                await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
        async with asyncio.timeout(60):
            while await figure(self._world.members[0].url, "ff_proxy_sdk_streams"):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        # Usage is on its way for as long as its interval.
        await asyncio.sleep(3)

    async def _client(self, chance: random.Random) -> None:
        while not self._over:
            await self._visit(chance)
            self._visits += 1

    async def _visit(self, chance: random.Random) -> None:
        environment = chance.choice(ENVIRONMENTS)
        client = SdkLike(self._world.members[0].url, KEYS[environment])
        client.http.timeout = httpx2.Timeout(30)
        async with client.http:
            who = f"target-{chance.randrange(50_000)}"
            await client.authenticate(
                {"identifier": who, "attributes": {"country": chance.choice(("DE", "FR"))}}
            )
            for path in ("/feature-configs", "/target-segments?rules=v2", f"/target/{who}/evaluations"):
                answer = await client.get(path)
                if answer.status_code != httpx2.codes.OK:
                    raise ViolationError(f"{path}: {answer.status_code} {answer.text}")
            async with client.stream() as stream:
                with suppress(TimeoutError):
                    async with asyncio.timeout(chance.uniform(0.05, 2)):
                        while True:
                            await stream.event()
                            self._events += 1
            await client.post_usage(f"flag-{chance.randrange(20)}", 1, target=who)
            self._posts += 1

    async def _tasks(self) -> int:
        """How many tasks run, as the proxy tells."""
        before = len(self._log())
        os.kill(self._world.members[0].processes()[-1], signal.SIGUSR1)
        told: list[str] = []
        async with asyncio.timeout(10):
            while not told:
                await asyncio.sleep(0.05)
                told = re.findall(r'\{.*"event": ?"tasks".*\}', self._log()[before:])
        return int(json.loads(told[0])["count"])

    def _log(self) -> str:
        return self._world.members[0].log()


async def soak(form: Form, seed: int, seconds: float, place: Path) -> SoakReport:
    """One run of a form."""
    async with world(form, place, seed) as made:
        return await Soak(made, seed).run(seconds)


def main() -> int:
    """Exit code 1 if a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.soak", description=__doc__)
    parser.add_argument("-seconds", type=float, default=600.0)
    parser.add_argument("-seed", type=int, default=1)
    parser.add_argument("-keep", action="store_true", help="keep the figures for docs/proof.md")
    asked = parser.parse_args()
    try:
        report = asyncio.run(
            soak(Form.SQLITE, asked.seed, asked.seconds, Path(tempfile.mkdtemp(prefix="soak-")))
        )
    except ViolationError as broken:
        sys.stderr.write(f"{broken}\n")
        return 1
    if asked.keep:
        write_record("soak", report)
    sys.stdout.buffer.write(msgspec.json.encode(report) + b"\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
