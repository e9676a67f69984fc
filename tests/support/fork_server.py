"""Starting ``ff-proxy``: most tests get a fork of a process that has imported it already.

A start of Python and the proxy's imports need several times the CPU that its own start needs, and the suite
starts hundreds. From ``main`` to the interpreter's last step such a process does what it does for users. It
shares with its siblings the seed of string hashes and what modules do on import; its command line is that of
the helper. Tests of these things, and some of each role, start the real program (``fresh``). So do all while
coverage is measured.
"""

import asyncio
import atexit
import functools
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

_ROOT: Final = Path(__file__).parents[2]
_KEPT: Final = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "TMPDIR",
    "PYTHONPATH",
    "PYTHONUNBUFFERED",
    "COVERAGE_PROCESS_CONFIG",
)
_READ_AT_START: Final = (
    "PYTHON",
    "LANG",
    "LC_",
    "LD_",
    "MALLOC_",
    "OPENSSL_",
    "PROMETHEUS_",
    "TZ",
    "COVERAGE_",
)
"""Beginnings of names of variables that an interpreter, or a module on import, reads only once."""


class ProxyProcess(Protocol):
    """What tests use of ``asyncio.subprocess.Process``."""

    @property
    def pid(self) -> int: ...
    @property
    def returncode(self) -> int | None: ...
    @property
    def stdout(self) -> asyncio.StreamReader | None: ...
    async def wait(self) -> int: ...
    def send_signal(self, signal: int, /) -> None: ...
    def kill(self) -> None: ...


async def start_proxy(
    *arguments: str,
    output: int,
    environ: dict[str, str],
    directory: Path | None = None,
    fresh: bool = False,
    installed: Path | None = None,
) -> ProxyProcess:
    """Start ``ff-proxy`` with these arguments, without standard input.

    Args:
        arguments: behind the program's name.
        output: a file descriptor for both outputs, or ``asyncio.subprocess.PIPE``.
        environ: its environment, besides what Python itself needs: nothing else configures the proxy.
        directory: where it runs.
        fresh: whether an interpreter of its own is started (see above).
        installed: the program of another installation than the one that runs the tests.
    """
    given = kept_environment() | environ
    if not (fresh or installed) and can_fork(given):
        return await fork_server().start(arguments, output, given, directory or Path.cwd())
    return await asyncio.create_subprocess_exec(
        *([installed] if installed else [sys.executable, "-m", "ff_proxy"]),
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=output,
        stderr=asyncio.subprocess.STDOUT,
        cwd=directory,
        env=given,
    )


def kept_environment() -> dict[str, str]:
    """The environment without what would configure a proxy behind the test's back."""
    return {name: os.environ[name] for name in _KEPT if name in os.environ}


def can_fork(environ: Mapping[str, str]) -> bool:
    """Whether a fork is as good as a new interpreter: on Linux, with nothing that is read only once."""
    return (
        sys.platform == "linux"
        and "COVERAGE_PROCESS_CONFIG" not in environ
        and _read_at_start(environ) == _read_at_start(kept_environment())
    )


def _read_at_start(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if name.startswith(_READ_AT_START)}


class ForkServer:
    """A helper process, and what it has forked for this one.

    Attributes:
        spent: seconds of CPU of the proxies that have ended.
    """

    def __init__(self) -> None:
        self.spent = 0.0
        self._control, theirs = socket.socketpair()
        with theirs:
            self._helper = subprocess.Popen(
                [sys.executable, "-m", "tests.support.fork_helper", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                cwd=_ROOT,
                env=kept_environment(),
                pass_fds=[theirs.fileno()],
            )

    @property
    def pid(self) -> int:
        """Of the helper."""
        return self._helper.pid

    async def start(
        self, arguments: Sequence[str], output: int, environ: Mapping[str, str], directory: Path
    ) -> "ForkedProcess":
        """Fork a proxy; see ``start_proxy``."""
        if output != asyncio.subprocess.PIPE:
            return ForkedProcess(self, *self._fork(arguments, output, environ, directory))
        reading, writing = os.pipe()
        try:
            pid, connection = self._fork(arguments, writing, environ, directory)
        finally:
            os.close(writing)
        said = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(said), os.fdopen(reading, "rb", 0)
        )
        return ForkedProcess(self, pid, connection, said)

    def close(self) -> None:
        """End the helper; proxies that still run go on."""
        self._control.close()
        self._helper.wait()

    def _fork(
        self, arguments: Sequence[str], output: int, environ: Mapping[str, str], directory: Path
    ) -> tuple[int, socket.socket]:
        asked = {"arguments": list(arguments), "environ": dict(environ), "directory": str(directory)}
        connection, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(self._control, [b"\0"], [theirs.fileno(), output])
        connection.sendall(json.dumps(asked).encode())
        connection.shutdown(socket.SHUT_WR)
        with connection.makefile("rb", 0) as told:
            pid = int(told.readline())
        connection.setblocking(False)
        return pid, connection


class ForkedProcess:
    """See ``ProxyProcess``: a child of the helper, which reaps it and tells how it ended.

    Args:
        server: is told what it has cost.
        pid: of the process.
        connection: tells its end.
        stdout: its output, if it is a pipe.
    """

    def __init__(
        self,
        server: ForkServer,
        pid: int,
        connection: socket.socket,
        stdout: asyncio.StreamReader | None = None,
    ) -> None:
        self.pid: Final = pid
        self.stdout: Final = stdout
        self._server = server
        self._connection = connection
        self._code: int | None = None
        self._ended = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(connection, self._look)

    @property
    def returncode(self) -> int | None:
        """The exit code, once it has ended; negative: the signal that ended it."""
        self._look()
        return self._code

    async def wait(self) -> int:
        """Wait for its end: the exit code."""
        await self._ended.wait()
        assert self._code is not None
        return self._code

    def send_signal(self, signal: int, /) -> None:
        """Send it a signal; raises ``ProcessLookupError`` if it has ended."""
        if self.returncode is not None:
            raise ProcessLookupError
        os.kill(self.pid, signal)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    def _look(self) -> None:
        if self._code is not None:
            return
        try:
            told = self._connection.recv(64)
        except BlockingIOError:
            return
        assert told, "the fork server has ended"
        self._loop.remove_reader(self._connection)
        self._connection.close()
        code, seconds = told.split()
        self._code = int(code)
        self._server.spent += float(seconds)
        self._ended.set()


@functools.cache
def fork_server() -> ForkServer:
    """The server of this process, started when it is first needed."""
    server = ForkServer()
    atexit.register(server.close)
    return server


def forked_seconds() -> float:
    """Seconds of CPU of forked proxies that have ended; the system counts them as children of the helper."""
    return fork_server().spent if fork_server.cache_info().currsize else 0.0
