"""Most tests start a fork of a process that has imported the proxy: it must be what a real start is."""

import asyncio
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.integration.harness import Proxy, offline_options
from tests.support.fork_server import ProxyProcess, can_fork, fork_server, kept_environment, start_proxy
from tests.support.offline import bakery
from tests.support.sdk_like import eventually
from tests.support.workers import alive

ROOT = Path(__file__).parents[2]
HOLDER = """
import asyncio, sys
from pathlib import Path
from tests.support.fork_server import fork_server, start_proxy

async def main():
    with open(sys.argv[1], "ab") as log:
        proxy = await start_proxy(*sys.argv[2:], output=log.fileno(), environ={})
    print(fork_server().pid, proxy.pid, flush=True)
    await proxy.wait()

asyncio.run(main())
"""


@pytest.fixture(autouse=True)
def _needs_forks() -> None:
    if not can_fork(kept_environment()):
        pytest.skip("real programs are started here: coverage is measured, or this is not Linux")


def facts(pid: int) -> dict[str, object]:
    """What the system says of a process, where it is the same for every one of its kind."""
    process = Path(f"/proc/{pid}")
    status = dict(line.split(":\t", 1) for line in (process / "status").read_text().splitlines())
    names = ("Umask", "SigBlk", "SigIgn", "SigCgt", "CapEff", "NoNewPrivs")
    behind_the_name = (process / "stat").read_text().rpartition(")")[2].split()
    return {
        **{name: status[name] for name in names},
        "group and session": behind_the_name[2:4],
        "nice": behind_the_name[16],
        "cwd": str((process / "cwd").readlink()),
        "limits": (process / "limits").read_text(),
        "standard files": [(process / "fd" / number).readlink().name for number in "012"],
    }


def opened(pid: int) -> set[str]:
    """What a process has open: files by name, pipes and sockets by number."""
    return {str(file.readlink()) for file in Path(f"/proc/{pid}/fd").iterdir()}


def is_fork(pid: int) -> bool:
    """Whether its interpreter was started for the helper."""
    return b"fork_helper" in Path(f"/proc/{pid}/cmdline").read_bytes()


def exists(pid: int) -> bool:
    """Whether it runs, or has not been reaped."""
    return Path(f"/proc/{pid}").exists()


async def told(process: ProxyProcess) -> tuple[int, str]:
    """Exit code and output of a process that ends by itself."""
    assert process.stdout is not None
    said = await process.stdout.read()
    return await process.wait(), said.decode()


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_the_system_sees_no_difference(tmp_path: Path, workers: int) -> None:
    """Signals, open files, limits, working directory: as of a program that was started."""
    (tmp_path / "config").mkdir()
    bakery(tmp_path / "config")
    options = offline_options(tmp_path / "config") | {"workers": str(workers), "shutdown-delay": "0"}
    seen = []
    for fresh in (True, False):
        async with Proxy.running(options, tmp_path / "log", fresh=fresh) as proxy:
            assert is_fork(proxy.pid) is not fresh
            seen.append(facts(proxy.pid))
            common = opened(proxy.pid) & opened(fork_server().pid)
            assert {name for name in common if name.startswith(("socket:", "pipe:"))} == set()
    assert seen[0] == seen[1]


@pytest.mark.parametrize(
    "line",
    ["print-config -offline", "validate nowhere", "version", "-prot 1", "", "sandbox -port x"],
)
async def test_arguments_environment_and_directory_arrive(line: str, tmp_path: Path) -> None:
    """Output and exit code are the same; nothing of the helper's environment is seen."""
    (tmp_path / "nowhere").touch()
    (tmp_path / ".env").write_text("LOG_LEVEL=debug\n")
    environ = {"PORT": "1234", "CONFIG_DIR": "here", "IDLE_TIMEOUT": "7"}
    heard = []
    for fresh in (True, False):
        process = await start_proxy(
            *line.split(),
            output=asyncio.subprocess.PIPE,
            environ=environ,
            directory=tmp_path,
            fresh=fresh,
        )
        heard.append(await told(process))
    assert heard[0] == heard[1]
    assert heard[0][1]


async def test_signals_arrive_and_ends_are_told(tmp_path: Path) -> None:
    """Killed, it has the code that a child has; a signal to what has ended is an error."""
    (tmp_path / "config").mkdir()
    bakery(tmp_path / "config")
    async with Proxy.running(offline_options(tmp_path / "config"), tmp_path / "log") as proxy:
        process = proxy._process
        assert process is not None
        assert process.returncode is None
        before = fork_server().spent
        os.kill(proxy.pid, signal.SIGKILL)
        assert await process.wait() == -signal.SIGKILL
        assert not exists(process.pid)
        assert fork_server().spent > before
        with pytest.raises(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        proxy._process = None


async def test_the_helper_ends_with_the_tests_and_kills_nobody(tmp_path: Path) -> None:
    """However they end."""
    (tmp_path / "config").mkdir()
    bakery(tmp_path / "config")
    log = tmp_path / "log"
    flags = ("-offline", f"-config-dir={tmp_path / 'config'}", "-port=0", "-admin-address=off")
    holder = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", HOLDER, str(log), *flags, "-shutdown-delay=0"),
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    assert holder.stdout is not None
    helper, proxy = map(int, (await holder.stdout.readline()).split())
    try:

        async def listens() -> bool:
            return '"listening"' in log.read_text(encoding="utf-8")

        await eventually(listens)
        holder.kill()
        await holder.wait()

        async def gone() -> bool:
            return not alive(helper)

        await eventually(gone)
        assert alive(proxy)
    finally:
        with suppress(ProcessLookupError):
            os.kill(proxy, signal.SIGTERM)

    async def stopped() -> bool:
        return not alive(proxy)

    await eventually(stopped)
    assert '"stopped"' in log.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["PYTHONPATH", "PYTHONHASHSEED", "LC_CTYPE", "PROMETHEUS_MULTIPROC_DIR"])
def test_what_is_read_only_once_needs_a_new_interpreter(name: str) -> None:
    """The helper has read it."""
    assert not can_fork(kept_environment() | {name: "other"})
    assert can_fork(kept_environment() | {"PORT": "1"})
