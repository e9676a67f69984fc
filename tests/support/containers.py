"""Containers without an engine: processes with namespaces, a file system and an address of their own.

What an engine does for ``docker run`` is done here with Linux' own programs: a private copy of a root file
system (overlay), mounts, a user without capabilities, and a network of the test's own in which names resolve.
Nothing in it can reach, or be reached by, anything outside of that network.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

_PROGRAMS: Final = ("unshare", "nsenter", "ip", "chroot", "mount", "setpriv")
_HOSTS: Final = "127.0.0.1 localhost\n"
_SUBNET: Final = "10.77.0"
_PAUSE: Final = 0.2  # seconds between looks: each of them is several processes
WITHIN: Final = 30.0  # seconds for whatever is waited for

# Carried out in a mount namespace of the container's own, before the program takes its place.
_SETUP: Final = """set -e
mount -t overlay overlay -o "lowerdir=$LOWER,upperdir=$UPPER,workdir=$WORK" "$ROOT"
mkdir -p "$ROOT/proc" "$ROOT/dev" "$ROOT/tmp" "$ROOT/etc"
mount -t proc proc "$ROOT/proc"
mount -t tmpfs -o mode=755 tmpfs "$ROOT/dev"
for device in null zero random urandom tty; do
    touch "$ROOT/dev/$device"; mount --bind "/dev/$device" "$ROOT/dev/$device"
done
ln -s /proc/self/fd "$ROOT/dev/fd"
ln -s /proc/self/fd/1 "$ROOT/dev/stdout"
ln -s /proc/self/fd/2 "$ROOT/dev/stderr"
mkdir "$ROOT/dev/shm"; mount -t tmpfs -o size=64m,mode=1777 tmpfs "$ROOT/dev/shm"
touch "$ROOT/etc/hosts"; mount --bind "$HOSTS" "$ROOT/etc/hosts"
touch "$ROOT/etc/resolv.conf"; mount --bind /dev/null "$ROOT/etc/resolv.conf"
"""


def needs_namespaces() -> None:
    """Skip the test (in CI: fail it) where containers cannot be made."""
    missing = [name for name in _PROGRAMS if shutil.which(name) is None]
    if missing or os.geteuid() != 0:
        pytest.skip(
            f"containers need root, util-linux and iproute2 (missing: {', '.join(missing) or 'root'})"
        )


@dataclass(frozen=True)
class Mount:
    """``source`` of this machine at ``target`` of the container; without a source: an empty tmpfs."""

    source: Path | None
    target: str
    read_only: bool = False


@dataclass(frozen=True)
class Spec:
    """What ``docker run`` or a compose file says of a container.

    ``root`` is the image's file system; ``user`` and ``group`` are numbers. With ``capabilities`` root keeps
    its own, which some programs need that drop them themselves.
    """

    name: str
    root: Path
    command: Sequence[str]
    environ: Mapping[str, str] = field(default_factory=dict)
    mounts: Sequence[Mount] = ()
    user: int = 0
    group: int = 0
    read_only: bool = False
    capabilities: bool = False
    aliases: Sequence[str] = ()


class Container:
    """A running container: its output is kept in ``log``."""

    def __init__(self, spec: Spec, address: str, log: Path, process: subprocess.Popen[bytes]) -> None:
        self.spec = spec
        self.address = address
        self.log = log
        self._process = process

    @property
    def said(self) -> str:
        """Everything on both outputs so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def pid(self) -> int:
        """The process that is number 1 inside, by its number outside."""
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        found: list[str] = []

        def there() -> bool:
            found[:] = children.read_text().split()
            return bool(found)

        wait_for(there, f"{self.spec.name} to start")
        return int(found[0])

    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def execute(self, *command: str, seconds: float = WITHIN) -> subprocess.CompletedProcess[str]:
        """``docker exec``: run a command inside, with the container's environment and user."""
        return subprocess.run(
            [
                *("nsenter", "--target", str(self.pid()), "--all", f"--root=/proc/{self.pid()}/root"),
                *("--wd=/", "setpriv", *_privileges(self.spec), "--"),
                *("env", "-i", *_pairs(self.spec.environ), *command),
            ],
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    def stop(self) -> int:
        """``docker stop``: SIGTERM, and wait for the exit code."""
        if self.running():
            os.kill(self.pid(), signal.SIGTERM)
        return self.wait()

    def wait(self, seconds: float = WITHIN) -> int:
        """Wait for its end."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.spec.name} is still running:\n{self.said[-4000:]}") from None

    def kill(self) -> None:
        """End it at once; its parent ends it and everything that it has started."""
        if self.running():
            self._process.kill()
            self._process.wait()


class Network:
    """A bridge on which every container has an address, and is found by its name."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self._directory = directory
        self._stack = stack
        self._hosts = directory / "hosts"
        self._hosts.write_text(_HOSTS)
        self._containers: list[Container] = []
        self._switch = self._namespace()
        self._ip(self._switch, "link add bridge type bridge")
        self._ip(self._switch, "link set bridge up")
        self._ip(self._switch, f"addr add {_SUBNET}.1/24 dev bridge")

    def alias(self, name: str, container: str) -> None:
        """Let ``name`` resolve to that container."""
        address = next(one.address for one in self._containers if one.spec.name == container)
        with self._hosts.open("a") as hosts:
            hosts.write(f"{address} {name}\n")

    def run(self, spec: Spec) -> Container:
        """Start a container."""
        number = len(self._containers) + 10
        address = f"{_SUBNET}.{number}"
        holder = self._namespace()
        self._ip(self._switch, f"link add to{number} type veth peer name eth0 netns {holder.pid}")
        self._ip(self._switch, f"link set to{number} master bridge up")
        self._ip(holder, f"addr add {address}/24 dev eth0")
        self._ip(holder, "link set eth0 up")
        with self._hosts.open("a") as hosts:
            hosts.write(f"{address} {' '.join([spec.name, *spec.aliases])}\n")
        container = Container(spec, address, *self._launch(spec, number, holder.pid))
        self._containers.append(container)
        self._stack.callback(container.kill)
        return container

    def curl(self, *arguments: str, seconds: float = WITHIN) -> str:
        """What curl says, called from a machine on this network; it must succeed."""
        done = self.try_curl(*arguments, seconds=seconds)
        assert done.returncode == 0, f"{done.args}: {done.stderr}\n{self.logs()}"
        return done.stdout

    def try_curl(self, *arguments: str, seconds: float = WITHIN) -> subprocess.CompletedProcess[str]:
        """The same, whatever comes of it."""
        command = ["curl", "--silent", "--show-error", "--max-time", str(seconds), *arguments]
        return subprocess.run(self.inside(*command), capture_output=True, text=True, check=False)

    def inside(self, *command: str) -> list[str]:
        """A command line that runs a program of this machine on this network."""
        mounted = f'mount --bind "{self._hosts}" /etc/hosts && exec "$@"'
        return [
            *("nsenter", "--target", str(self._switch.pid), "--net"),
            *("unshare", "--mount", "--propagation", "private", "sh", "-c", mounted, "sh", *command),
        ]

    def until_ok(self, container: Container, *arguments: str) -> str:
        """Wait until curl is answered with a success by ``container``, and return what it was told."""
        answer = ""

        def there() -> bool:
            nonlocal answer
            assert container.running(), f"{container.spec.name} has ended:\n{container.said}"
            done = self.try_curl("--fail", *arguments, seconds=5)
            answer = done.stdout
            return done.returncode == 0

        wait_for(there, f"an answer from {arguments}", self.logs)
        return answer

    def logs(self) -> str:
        """What every container has said, for a failing test."""
        return "\n".join(f"--- {one.spec.name}\n{one.said[-2000:]}" for one in self._containers)

    def _launch(self, spec: Spec, number: int, holder: int) -> tuple[Path, subprocess.Popen[bytes]]:
        place = self._directory / f"{number}-{spec.name}"
        for name in ("upper", "work", "root"):
            (place / name).mkdir(parents=True)
        log = place / "log"
        script = [_SETUP, *(_mount_command(mount) for mount in spec.mounts)]
        if spec.read_only:
            script.append('mount -o remount,ro,bind "$ROOT" 2>/dev/null || mount -o remount,ro "$ROOT"\n')
        environ = {
            "PATH": os.environ["PATH"],
            "LOWER": str(spec.root),
            "UPPER": str(place / "upper"),
            "WORK": str(place / "work"),
            "ROOT": str(place / "root"),
            "HOSTS": str(self._hosts),
        }
        script.append('exec chroot "$ROOT" setpriv "$@"\n')
        with log.open("wb") as output:
            process = subprocess.Popen(
                [
                    *("nsenter", "--target", str(holder), "--net"),
                    *(
                        "unshare",
                        "--mount",
                        "--pid",
                        "--fork",
                        "--kill-child=KILL",
                        "--propagation",
                        "private",
                    ),
                    *("sh", "-c", "".join(script), "sh", *_privileges(spec), "--"),
                    *("env", "-i", *_pairs(spec.environ), *spec.command),
                ],
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        return log, process

    def _namespace(self) -> subprocess.Popen[bytes]:
        """A process that does nothing but hold a network namespace, until its input ends."""
        holder = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", "ip link set lo up && echo ready && exec cat"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._stack.callback(_end, holder)
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"ready\n"
        return holder

    @staticmethod
    def _ip(holder: subprocess.Popen[bytes], arguments: str) -> None:
        subprocess.run(
            ["nsenter", "--target", str(holder.pid), "--net", "ip", *arguments.split()],
            check=True,
            capture_output=True,
            timeout=WITHIN,
        )


@contextmanager
def isolated_network(directory: Path) -> Iterator[Network]:
    """A network of its own; its containers are gone afterwards."""
    needs_namespaces()
    with ExitStack() as stack:
        yield Network(directory, stack)


def wait_for(condition: Callable[[], bool], what: str, explain: Callable[[], str] = str) -> None:
    """Wait until it holds; ``explain`` is added to the failure."""
    end = time.monotonic() + WITHIN
    while not condition():
        assert time.monotonic() < end, f"waited in vain for {what}\n{explain()}"
        time.sleep(_PAUSE)


def _privileges(spec: Spec) -> list[str]:
    # The signal that ends it with its parent is lost when the user changes, so it is set once more.
    who = [
        "--pdeathsig=KILL",
        *("--reuid", str(spec.user), "--regid", str(spec.group), "--clear-groups"),
    ]
    return who if spec.capabilities else [*who, "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]


def _pairs(environ: Mapping[str, str]) -> list[str]:
    return [f"{name}={value}" for name, value in environ.items()]


def _mount_command(mount: Mount) -> str:
    target = f'"$ROOT{mount.target}"'
    if mount.source is None:
        return f"mkdir -p {target}; mount -t tmpfs -o mode=1777 tmpfs {target}\n"
    made = f"mkdir -p {target}"
    if mount.source.is_file():
        made = f'mkdir -p "$(dirname {target})"; touch {target}'
    bound = f'mount --bind "{mount.source}" {target}'
    again = f"; mount -o remount,ro,bind {target}" if mount.read_only else ""
    return f"{made}; {bound}{again}\n"


def _end(holder: subprocess.Popen[bytes]) -> None:
    with suppress(OSError):
        if holder.stdin is not None:
            holder.stdin.close()
    holder.wait(WITHIN)
    if holder.stdout is not None:
        holder.stdout.close()
