"""Systems that lack what Linux has, played by hiding it: everything imports, and the proxy serves."""

import subprocess
import sys
from pathlib import Path
from signal import SIGTERM

from tests.support.commands import Command
from tests.support.local_http import local_http
from tests.support.offline import bakery
from tests.support.ports import free_port

HIDING = """
import asyncio  # needs some of what is hidden, and has it on every system
import sys
from importlib.abc import MetaPathFinder


class Lacking(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] in {names}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)


for name in [name for name in sys.modules if name.split(".")[0] in {names}]:
    del sys.modules[name]
sys.meta_path.insert(0, Lacking())
"""
MODULES = {"uvloop", "fcntl", "resource", "pwd", "grp", "termios"}

EVERYTHING = """
import pkgutil, os, signal, socket, sys, time
from importlib import import_module

def everything():
    import ff_proxy
    found = [one.name for one in pkgutil.walk_packages(ff_proxy.__path__, "ff_proxy.")]
    for name in found:
        import_module(name)
    return found

found = everything()
for name in [name for name in sys.modules if name.split(".")[0] == "ff_proxy"]:
    del sys.modules[name]
{hiding}
for module, names in (
    (os, "fork getuid geteuid sysconf memfd_create fchmod O_CLOEXEC O_NONBLOCK O_DIRECTORY O_NOFOLLOW"),
    (signal, "SIGHUP SIGQUIT SIGUSR1 SIGUSR2 SIGCHLD SIGKILL pthread_sigmask"),
    (socket, "AF_UNIX SO_REUSEPORT"),
    (time, "clock_gettime CLOCK_BOOTTIME"),
):
    for name in names.split():
        delattr(module, name)
assert everything() == found
print(len(found))
"""


def test_every_module_can_be_imported() -> None:
    """What a system lacks is missed when it is needed, not before ``ff-proxy help`` can say anything."""
    script = EVERYTHING.format(hiding=HIDING.format(names=MODULES))
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) > 300


async def test_without_uvloop_and_locks_it_serves_and_says_so(tmp_path: Path) -> None:
    """One line of the log; flags, streams' port and the end are as ever."""
    hiding = tmp_path / "hiding"
    hiding.mkdir()
    (hiding / "sitecustomize.py").write_text(HIDING.format(names=MODULES))
    bakery(tmp_path / "config")
    port = free_port()
    proxy = Command(
        "-offline",
        f"-config-dir={tmp_path / 'config'}",
        f"-data-dir={tmp_path / 'data'}",
        f"-port={port}",
        "-bypass-auth",
        "-shutdown-delay=0",
        "-admin-address=127.0.0.1:0",
        PYTHONPATH=str(hiding),
    )
    await proxy.start()
    await proxy.until('"ready"')
    assert proxy.said.count("uvloop is not installed") == 1
    async with local_http() as http:
        ready = await http.get(f"http://127.0.0.1:{port}/health/ready")
    assert ready.status_code == 200
    proxy.signal(SIGTERM)
    assert await proxy.end() == 0
