"""Offline directories made for tests."""

import json
import os
import threading
from collections import Counter
from collections.abc import Mapping
from itertools import count
from pathlib import Path

from ff_proxy.model.keys import EnvironmentId, hash_key
from ff_proxy.offline.files import Files

ENV = "5b3ae4f2-46a4-4e0a-a2f6-24d8ff2f3a11"
OTHER = "b1dc1c9f-5a3f-41d7-8a4e-0c8e2f9e3b22"
ENV_ID = EnvironmentId(ENV)
OTHER_ID = EnvironmentId(OTHER)

Document = dict[str, object]


def flag_doc(feature: str, **fields: object) -> Document:
    """A boolean flag as a file has it; ``fields`` replace or add wire fields."""
    usual: Document = {
        "feature": feature,
        "project": "bakery",
        "environment": "kitchen",
        "kind": "boolean",
        "state": "on",
        "variations": [
            {"identifier": "true", "name": "Yes", "value": "true"},
            {"identifier": "false", "name": "No", "value": "false"},
        ],
        "defaultServe": {"variation": "true"},
        "offVariation": "false",
        "version": 3,
    }
    return usual | fields


def write_files(directory: Path, **parts: object) -> Path:
    """Make an environment's directory; each part is the content of the file of that name (JSON)."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in parts.items():
        (directory / f"{name}.json").write_text(json.dumps(content))
    return directory


def bakery(root: Path, environment: str = ENV, *, version: int = 3) -> Path:
    """A small but complete environment below ``root``."""
    return write_files(
        root / f"env-{environment}",
        auth_config=[hash_key("key-one"), hash_key("key-two")],
        feature_config=[
            flag_doc("glaze", version=version, futureField={"kept": True}),
            flag_doc("yeast", kind="string", state="off"),
        ],
        segments=[
            {
                "identifier": "night-shift",
                "name": "Night shift",
                "environment": "kitchen",
                "included": [{"identifier": "ada", "name": "Ada"}],
                "rules": [{"attribute": "shift", "op": "equal", "values": ["night"]}],
                "version": 5,
            }
        ],
        targets=[
            {
                "identifier": "ada",
                "name": "Ada",
                "attributes": {"shift": "night", "loaves": 12, "tags": ["a", None]},
                "org": "guild",
                "account": "acme",
            },
            {"identifier": "guest", "name": "guest", "anonymous": True},
        ],
    )


class FaultyFiles(Files):
    """The real files, except for paths whose device, directory or permissions are said to be in trouble."""

    def __init__(self) -> None:
        self._faults: dict[Path, int] = {}
        self._devices: dict[Path, int] = {}
        self._unread: dict[Path, int] = {}
        self._answer: threading.Event | None = None
        self._listed: Counter[Path] = Counter()
        self._unstable: Path | None = None
        self._inodes = count(1)

    def fail(self, path: Path, number: int) -> None:
        """From now on everything at or below ``path`` gives this error."""
        self._faults[path] = number

    def refuse_reading(self, path: Path, number: int) -> None:
        """From now on reading this file gives an error, though it looks well."""
        self._unread[path] = number

    def hang(self, answer: threading.Event) -> None:
        """From now on nothing is answered before ``answer`` is set."""
        self._answer = answer

    def move_to_device(self, path: Path, device: int) -> None:
        """From now on everything at or below ``path`` is on another device."""
        self._devices[path] = device

    def change_inodes(self, path: Path) -> None:
        """From now on all at or below ``path`` has another inode number at each look, as on some volumes."""
        self._unstable = path

    def mend(self) -> None:
        """Everything is as the real file system has it."""
        self._faults.clear()
        self._devices.clear()
        self._unread.clear()

    def scans(self, directory: Path) -> int:
        """How often its entries have been asked for."""
        return self._listed[directory]

    def entries(self, directory: Path) -> Mapping[str, bool]:
        self._listed[directory] += 1
        self._check(directory)
        return super().entries(directory)

    def status(self, path: Path) -> os.stat_result:
        self._check(path)
        status = super().status(path)
        if self._unstable is not None and path.is_relative_to(self._unstable):
            times = {name: getattr(status, name) for name in ("st_mtime_ns", "st_ctime_ns")}
            return os.stat_result([status[0], next(self._inodes), *status[2:10]], times)
        for place, device in self._devices.items():
            if path.is_relative_to(place):
                fields = list(status)
                fields[2] = device
                times = {name: getattr(status, name) for name in ("st_mtime_ns", "st_ctime_ns")}
                return os.stat_result(fields, times)
        return status

    def is_link(self, path: Path) -> bool:
        self._check(path)
        return super().is_link(path)

    def read(self, path: Path) -> bytes:
        self._check(path)
        if path in self._unread:
            raise OSError(self._unread[path], os.strerror(self._unread[path]), str(path))
        return super().read(path)

    def _check(self, path: Path) -> None:
        if self._answer is not None:
            self._answer.wait()
        for place, number in self._faults.items():
            if path.is_relative_to(place):
                raise OSError(number, os.strerror(number), str(path))
