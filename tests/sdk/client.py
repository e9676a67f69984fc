"""What the drivers of all SDKs have in common, seen from a test: options in, events and values out."""

import asyncio
import contextlib
import itertools
import json
import os
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tests.support.looks import until_next_look

ANSWER_WITHIN = 20.0  # seconds; a loaded machine of two cores runs thirty drivers at once
EXIT_WITHIN = 30.0  # seconds from `close` to the end of the process: some SDKs post what they counted


class DriverError(Exception):
    """An SDK or its driver did not do what was asked: the text says which, and what was heard instead."""


def environment(scratch: Path) -> dict[str, str]:
    """The environment of a driver: its own folder for files, and no outbound proxy towards loopback."""
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    return {**kept, "HOME": str(scratch), "TMPDIR": str(scratch)}


@dataclass(frozen=True, slots=True)
class SdkOptions:
    """How a client is started: what an application passes to its SDK.

    `target` is the first one; an SDK that knows a single target per client (JavaScript) streams for it.
    """

    api_key: str
    base_url: str
    events_url: str
    target: Mapping[str, Any]
    stream: bool = True
    poll_seconds: int = 60

    def wire(self) -> dict[str, Any]:
        """The options as the drivers read them."""
        return {
            "apiKey": self.api_key,
            "baseUrl": self.base_url,
            "eventsUrl": self.events_url,
            "target": dict(self.target),
            "stream": self.stream,
            "pollSeconds": self.poll_seconds,
        }


@dataclass(frozen=True, slots=True)
class SdkEvent:
    """Something that an SDK told its application: `at` is the loop's monotonic time in seconds."""

    at: float
    name: str
    details: Mapping[str, Any]


class SdkClient(ABC):
    """One client of one SDK, running in a driver.

    Commands may be given at once from many tasks. Every wait is bounded and ends in a `DriverError`.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.events: list[SdkEvent] = []
        self._heard = asyncio.Condition()
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._ids = itertools.count(1)

    @abstractmethod
    async def send(self, message: Mapping[str, Any]) -> None:
        """Hand one message to the driver."""

    @abstractmethod
    async def close(self) -> None:
        """Let the SDK end in its own way, and wait until it has."""

    async def receive(self, message: Mapping[str, Any]) -> None:
        """Take in one message of the driver: the answer to a command, or an event."""
        if "id" in message:
            answer = self._answers.pop(message["id"], None)
            if answer is not None and not answer.done():
                if "error" in message:
                    answer.set_exception(DriverError(f"{self.name}: {message['error']}"))
                else:
                    answer.set_result(message["result"])
            return
        details = {key: value for key, value in message.items() if key != "event"}
        async with self._heard:
            self.events.append(SdkEvent(time.monotonic(), message["event"], details))
            self._heard.notify_all()

    async def ask(self, command: Mapping[str, Any], *, within: float = ANSWER_WITHIN) -> Any:
        """Give a command and return its result."""
        number = next(self._ids)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(within):
                await self.send({**command, "id": number})
                return await answer
        except TimeoutError:
            raise DriverError(f"{self.name}: no answer to {command['cmd']} within {within} s") from None
        finally:
            self._answers.pop(number, None)

    async def variation(self, kind: str, flag: str, target: Mapping[str, Any], default: Any) -> Any:
        """What the SDK gives an application that asks for this variation.

        `kind` is boolean, string, int, number or json.
        """
        command = {"cmd": "variation", "kind": kind, "flag": flag, "target": target, "default": default}
        return await self.ask(command)

    async def heard(self, *names: str, within: float) -> SdkEvent:
        """Wait for the first event of one of these names."""

        def first() -> SdkEvent | None:
            return next((event for event in self.events if event.name in names), None)

        try:
            async with asyncio.timeout(within), self._heard:
                await self._heard.wait_for(lambda: first() is not None or self.ended())
        except TimeoutError:
            raise DriverError(f"{self.name}: no {' or '.join(names)} within {within} s") from None
        event = first()
        if event is None:
            raise DriverError(f"{self.name}: the driver ended before {' or '.join(names)}")
        return event

    async def initialised(self, *, within: float) -> bool:
        """Wait until the SDK says that it is ready (True) or has failed (False)."""
        return (await self.heard("ready", "failed", within=within)).name == "ready"

    async def until(
        self, kind: str, flag: str, target: Mapping[str, Any], default: Any, *, expected: Any, within: float
    ) -> float:
        """Ask for a variation again and again until it has the expected value; return the seconds it took."""
        start = time.monotonic()
        value = None
        while time.monotonic() - start < within:
            value = await self.variation(kind, flag, target, default)
            if value == expected:
                return time.monotonic() - start
            await asyncio.sleep(until_next_look(start))
        raise DriverError(f"{self.name}: {flag} is still {value!r}, not {expected!r}, after {within} s")

    def ended(self) -> bool:
        """Whether no more events can come."""
        return False

    async def _end(self) -> None:
        """Wake all who wait for something that can no longer come."""
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(DriverError(f"{self.name}: the driver ended"))
        async with self._heard:
            self._heard.notify_all()


class ProcessClient(SdkClient):
    """A client whose driver is a program of its own: JSON lines on its standard input and output.

    What the SDK logs goes to `log`, and is quoted when the driver dies.
    """

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        super().__init__(name)
        self.log = log
        self._process = process
        self._ended = False

    @classmethod
    @contextlib.asynccontextmanager
    async def start(
        cls, name: str, command: Sequence[str], options: SdkOptions, scratch: Path
    ) -> AsyncIterator[Self]:
        """Run a driver; at the end it is closed if it still runs, and reaped in any case.

        `scratch` is a directory of this client alone: the SDK may keep files there.
        """
        await asyncio.to_thread(scratch.mkdir, parents=True)
        log = scratch / "driver.log"
        with log.open("wb") as stderr:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=stderr,
                cwd=scratch,
                env=environment(scratch),
                limit=1 << 20,
            )
        client = cls(name, process, log)
        reader = asyncio.create_task(client._read())
        try:
            await client.send(options.wire())
            yield client
            if process.returncode is None:
                await client.close()
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()
            await reader

    async def send(self, message: Mapping[str, Any]) -> None:
        """Write one line."""
        if self._process.stdin is None:
            raise DriverError(f"{self.name}: the driver has no standard input")
        try:
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            await self._process.stdin.drain()
        except ConnectionError:
            raise DriverError(f"{self.name}: the driver ended: {self.last_words()}") from None

    async def close(self) -> None:
        """Let the SDK close, and the program end with status 0."""
        await self.ask({"cmd": "close"}, within=EXIT_WITHIN)
        try:
            async with asyncio.timeout(EXIT_WITHIN):
                status = await self._process.wait()
        except TimeoutError:
            raise DriverError(f"{self.name}: still running {EXIT_WITHIN} s after close") from None
        if status:
            raise DriverError(f"{self.name}: exit status {status}: {self.last_words()}")

    async def kill(self) -> None:
        """End the program at once, where nothing is to be learnt from how the SDK ends."""
        self._process.kill()
        await self._process.wait()

    def ended(self) -> bool:
        """Whether the program has closed its output."""
        return self._ended

    def last_words(self) -> str:
        """The end of what the driver wrote to its standard error."""
        return self.log.read_text(errors="replace")[-2000:]

    async def _read(self) -> None:
        if self._process.stdout is None:
            raise DriverError(f"{self.name}: the driver has no standard output")
        async for line in self._process.stdout:
            await self.receive(json.loads(line))
        self._ended = True
        await self._end()
