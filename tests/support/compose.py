"""Compose files, read by compose's own loader, and their services started without an engine."""

import json
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.containers import Container, Mount, Network, Spec, wait_for
from tests.support.docker_run import named_volume
from tests.support.go_tools import COMPOSE, go_tool
from tests.support.image import Image

# What is understood here, or does not matter to a process (how it is built, restarted and published).
_READ: Final = {"image", "command", "environment", "env_file", "volumes", "read_only"}
_DONE: Final = {"healthcheck", "depends_on", "cap_drop", "ports"}
_PASSED_OVER: Final = {"build", "networks", "restart", "security_opt", "stop_grace_period", "ulimits"}

# Programs of this machine in place of other people's images, with what those images put before the command.
_ENTRY_POINTS: Final[Mapping[str, Sequence[str]]] = {
    "redis": (),
    "nginx": ("nginx", "-g", "daemon off;"),
    "prom/prometheus": ("prometheus",),
}
_BEHIND: Final[Mapping[str, Sequence[str]]] = {"redis": ("--protected-mode", "no", "--dir", "/data")}
_HOST_ENVIRON: Final = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}


def load_compose(file: Path) -> dict[str, Any]:
    """The project, as ``docker compose config`` shows it; what compose refuses fails the test."""
    # Compose fills in ${VARIABLES} of this file; its loader by itself knows defaults only.
    beside = file.parent / ".env"
    variables = _read_env_file(beside) if beside.exists() else {}
    filled = file.with_name(f"filled-in-{file.name}")
    filled.write_text(re.sub(r"\$\{(\w+)\}", lambda match: variables[match[1]], file.read_text()))
    done = subprocess.run(
        [go_tool(COMPOSE), "-format", "json", filled.name],
        cwd=file.parent,
        env={"HOME": "/nonexistent"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    project: dict[str, Any] = json.loads(done.stdout)
    return project


class Project:
    """The services of a compose file, running."""

    def __init__(self, network: Network, image: Image, volumes: Path) -> None:
        self.containers: dict[str, Container] = {}
        self._network = network
        self._image = image
        self._volumes = volumes

    def up(self, services: Mapping[str, dict[str, Any]], *, without: Sequence[str] = ()) -> None:
        """Start all services but those ``without`` a program here, each after what it depends on."""
        waiting = {name: service for name, service in services.items() if name not in without}
        while waiting:
            ready = [name for name in waiting if not _needs(waiting[name]) & waiting.keys()]
            assert ready, f"services wait for each other: {list(waiting)}"
            for name in ready:
                service = waiting.pop(name)
                for other, condition in service.get("depends_on", {}).items():
                    if condition["condition"] == "service_healthy":
                        self.until_healthy(other, services[other])
                self.containers[name] = self._network.run(self.spec(name, service))
        for name, container in self.containers.items():
            for port in services[name].get("ports", ()):
                self._until_listening(container, port["target"])

    def until_healthy(self, name: str, service: Mapping[str, Any]) -> None:
        """Wait until the service's own health check says so."""
        kind, *command = service["healthcheck"]["test"]
        assert kind == "CMD"
        container = self.containers[name]

        def healthy() -> bool:
            assert container.running(), container.said
            return container.execute(*command).returncode == 0

        wait_for(healthy, f"{name} to be healthy", self._network.logs)

    def spec(self, name: str, service: Mapping[str, Any]) -> Spec:
        """The container that compose would make of a service."""
        unknown = service.keys() - _READ - _DONE - _PASSED_OVER
        assert not unknown, f"{name}: not understood here: {unknown}"
        image = service["image"].rpartition(":")[0] or service["image"]
        command = service.get("command") or ()
        mounts = [self._mount(volume) for volume in service.get("volumes", ())]
        if image == "ff-proxy":
            user, _, group = self._image.config["User"].partition(":")
            environ = {**self._image.environ, **_environ(service)}
            argv = [*self._image.config["Entrypoint"], *command]
            read_only = bool(service.get("read_only"))
            return Spec(name, self._image.root, argv, environ, mounts, int(user), int(group), read_only)
        argv = [*_ENTRY_POINTS[image], *command, *_BEHIND.get(image, ())]
        if shutil.which(argv[0]) is None:
            pytest.skip(f"no {argv[0]} on PATH")
        return Spec(name, Path("/"), argv, {**_HOST_ENVIRON, **_environ(service)}, mounts, capabilities=True)

    def _mount(self, volume: Mapping[str, Any]) -> Mount:
        read_only = bool(volume.get("read_only"))
        if volume["type"] == "bind":
            assert Path(volume["source"]).exists(), f"{volume['source']} is mounted and not there"
            return Mount(Path(volume["source"]), volume["target"], read_only)
        assert volume["type"] == "volume"
        place = named_volume(self._volumes / volume["source"], volume["target"], self._image)
        return Mount(place, volume["target"], read_only)

    def _until_listening(self, container: Container, port: int) -> None:
        address = f"telnet://{container.address}:{port}"

        def listening() -> bool:
            assert container.running(), container.said
            done = self._network.try_curl("--max-time", "0.2", address)
            return done.returncode != 7  # could not connect

        wait_for(listening, f"{container.spec.name} to listen on {port}", self._network.logs)


def _needs(service: Mapping[str, Any]) -> set[str]:
    return set(service.get("depends_on", ()))


def _environ(service: Mapping[str, Any]) -> dict[str, str]:
    environ: dict[str, str] = {}
    for file in service.get("env_file", ()):
        environ |= _read_env_file(Path(file["path"]))
    given = service.get("environment") or {}
    if isinstance(given, Mapping):
        return environ | {name: str(value) for name, value in given.items()}
    return environ | dict(pair.partition("=")[::2] for pair in given)


def _read_env_file(file: Path) -> dict[str, str]:
    lines = [line for line in file.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.partition("=")[::2] for line in lines)
