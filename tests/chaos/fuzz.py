"""``python -m tests.chaos.fuzz [-requests N] [-seed N]``: bad requests without end, and what they leave."""

import argparse
import asyncio
import random
import re
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from tests.chaos.bad_requests import BadRequests, Sent
from tests.chaos.driver import ViolationError
from tests.chaos.records import write_record
from tests.chaos.world import Form, Usage, World, world
from tests.support.log_scan import faults_of
from tests.support.sdk_like import DEV, KEYS, SdkLike

_AT_ONCE: Final = 32
# A connection on which everything has been sent must be over by then, whatever was sent.
_OVER_WITHIN: Final = 10.0
_GROWTH: Final = Usage(memory=32 * 1024 * 1024, files=8)
_STATUS: Final = re.compile(rb"HTTP/1\.1 (\d{3}) ")


class FuzzReport(msgspec.Struct, frozen=True):
    """What bad requests have come to; memory in bytes."""

    form: str
    seed: int
    requests: int
    seconds: float
    statuses: dict[int, int]
    unanswered: int
    longest: float
    memory_before: int
    memory_after: int
    files_before: int
    files_after: int


class Fuzz:
    """One run against one proxy, beside which a well-behaved SDK must be served."""

    def __init__(self, made: World, seed: int) -> None:
        self._world = made
        self._seed = seed
        self._statuses: Counter[int] = Counter()
        self._unanswered = 0
        self._longest = 0.0
        self._left = 0

    async def run(self, requests: int) -> FuzzReport:
        """Send so many; ``ViolationError`` for an error of ours, a hang, growth, or a process that ended."""
        member = self._world.members[0]
        began = time.monotonic()
        async with SdkLike.connected(member.url, KEYS[DEV]) as client:
            drawn = BadRequests(random.Random(self._seed), client.token)
            # What a fifth of them has filled, the others must not make more.
            await self._send(requests // 5, drawn)
            before = self._world.resources()
            await self._send(requests - requests // 5, drawn)
            assert (await client.get("/feature-configs")).status_code == 200
        await self._judge(before)
        after = self._world.resources()
        return FuzzReport(
            form=self._world.form,
            seed=self._seed,
            requests=requests,
            seconds=round(time.monotonic() - began, 1),
            statuses=dict(sorted(self._statuses.items())),
            unanswered=self._unanswered,
            longest=round(self._longest, 2),
            memory_before=before.memory,
            memory_after=after.memory,
            files_before=before.files,
            files_after=after.files,
        )

    async def _send(self, requests: int, drawn: BadRequests) -> None:
        self._left = requests
        tasks = [asyncio.create_task(self._keep_sending(drawn)) for _ in range(_AT_ONCE)]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    async def _keep_sending(self, drawn: BadRequests) -> None:
        while self._left > 0:
            self._left -= 1
            await self._exchange(drawn.draw())

    async def _exchange(self, sent: Sent) -> None:
        began = time.monotonic()
        answer = b""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._world.members[0].proxy.port)
        try:
            async with asyncio.timeout(_OVER_WITHIN):
                with suppress(ConnectionError, BrokenPipeError):
                    writer.write(sent.data)
                    writer.write_eof()
                    answer = await reader.read()
        except TimeoutError:
            raise ViolationError(
                f"seed {self._seed}: still open after {_OVER_WITHIN} s: {sent.data!r}"
            ) from None
        finally:
            writer.transport.abort()
        self._longest = max(self._longest, time.monotonic() - began)
        statuses = [int(status) for status in _STATUS.findall(answer)]
        if not statuses:
            self._unanswered += 1
        for status in statuses:
            self._statuses[status] += 1
            if status >= 500 and status not in sent.excused:
                raise ViolationError(f"seed {self._seed}: {status} for {sent.data!r}: {answer[:500]!r}")
        if found := faults_of(answer.decode("utf-8", "replace").replace(_token_of(answer), "")):
            raise ViolationError(f"seed {self._seed}: {found} in the answer to {sent.data!r}")

    async def _judge(self, before: Usage) -> None:
        member = self._world.members[0]
        if trouble := await self._world.trouble():
            raise ViolationError(f"seed {self._seed}: {trouble}")
        if "process died" in member.log():
            raise ViolationError(f"seed {self._seed}: a process died: {member.proxy.last_words()}")
        after = self._world.resources()
        if after.exceeds(before, _GROWTH):
            raise ViolationError(f"seed {self._seed}: {before} has become {after}")


def _token_of(answer: bytes) -> str:
    """The token that a good authentication among the bad ones has been given."""
    found = re.search(rb'"authToken":\s*"([^"]+)"', answer)
    return found[1].decode() if found else "\x00"


async def fuzz(form: Form, seed: int, requests: int, place: Path) -> FuzzReport:
    """One run against a proxy of that form."""
    async with world(form, place, seed) as made:
        return await Fuzz(made, seed).run(requests)


def main() -> int:
    """One process, then several; exit code 1 if a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.fuzz", description=__doc__)
    parser.add_argument("-requests", type=int, default=100_000, help="for each form")
    parser.add_argument("-seed", type=int, default=1)
    parser.add_argument("-keep", action="store_true", help="keep the figures for docs/proof.md")
    asked = parser.parse_args()
    for form in (Form.MEMORY, Form.WORKERS):
        place = Path(tempfile.mkdtemp(prefix=f"fuzz-{form}-"))
        try:
            report = asyncio.run(fuzz(form, asked.seed, asked.requests, place))
        except ViolationError as broken:
            sys.stderr.write(f"{broken}\n")
            return 1
        if asked.keep:
            write_record(f"fuzz-{form}", report)
        sys.stdout.buffer.write(msgspec.json.encode(report) + b"\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
