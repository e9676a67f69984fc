"""Running ``ff-proxy`` to its end, as a shell or a supervisor does."""

import asyncio
import signal
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

from tests.support.fork_server import ProxyProcess, start_proxy
from tests.support.log_scan import faults_of


class Command:
    """A process of ``ff-proxy``; what it says on both outputs is kept together.

    Args:
        arguments: behind the program's name.
        environ: its environment, besides what Python itself needs.
        directory: where it runs.
        fresh: whether it starts with an interpreter of its own (see ``tests.support.fork_server``).
    """

    def __init__(
        self, *arguments: str, directory: Path | None = None, fresh: bool = False, **environ: str
    ) -> None:
        self._arguments = arguments
        self._environ = environ
        self._directory = directory
        self._fresh = fresh
        self._installed: Path | None = None
        self._said = bytearray()
        self._process: ProxyProcess | None = None

    @classmethod
    def installed(cls, program: Path, *arguments: str, directory: Path) -> Self:
        """The same of another installation than the one that runs the tests."""
        command = cls(*arguments, directory=directory)
        command._installed = program
        return command

    @property
    def said(self) -> str:
        """Everything so far."""
        return self._said.decode()

    async def start(self) -> None:
        """Begin."""
        self._process = await start_proxy(
            *self._arguments,
            output=asyncio.subprocess.PIPE,
            environ=self._environ,
            directory=self._directory,
            fresh=self._fresh,
            installed=self._installed,
        )

    async def until(self, word: str, seconds: float = 60.0) -> None:
        """Wait for a line with ``word``."""
        process = self._running()
        assert process.stdout is not None
        try:
            async with asyncio.timeout(seconds):
                while line := await process.stdout.readline():
                    self._said += line
                    if word.encode() in line:
                        return
        except TimeoutError:
            await self.kill()
        raise AssertionError(f"never said {word!r}:\n{self.said}")

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._running().send_signal(number)

    async def end(self, seconds: float = 60.0) -> int:
        """Wait for its end: the exit code. What it said must hold neither secret nor trace."""
        process = self._running()
        assert process.stdout is not None
        try:
            async with asyncio.timeout(seconds):
                self._said += await process.stdout.read()
                code = await process.wait()
        except TimeoutError:
            raise AssertionError(f"still running after {seconds} s:\n{self.said}") from None
        finally:
            await self.kill()
        assert not faults_of(self.said), self.said
        return code

    async def kill(self) -> None:
        """End it at once, if it runs."""
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()

    def _running(self) -> ProxyProcess:
        assert self._process is not None, "not started"
        return self._process


async def run(
    *arguments: str,
    seconds: float = 60.0,
    directory: Path | None = None,
    fresh: bool = False,
    **environ: str,
) -> tuple[int, str]:
    """Run ``ff-proxy`` with these arguments to its end: exit code, and everything it said."""
    command = Command(*arguments, directory=directory, fresh=fresh, **environ)
    await command.start()
    return await command.end(seconds), command.said


def as_flags(options: dict[str, str]) -> Sequence[str]:
    """Options as a command line has them."""
    return [f"-{name}={value}" for name, value in options.items()]
