"""``docker run`` lines of documentation, read as docker reads them and carried out without it."""

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.support.containers import Mount, Spec
from tests.support.image import Image

_LINE: Final = re.compile(r"^[ \t>`]*(docker run\b[^\n`]*)", re.MULTILINE)
_OURS: Final = re.compile(r"(?:harness/)?ff-proxy(?::[\w.]+)?")
_SWITCHES: Final = frozenset({"-d", "--rm", "--read-only"})


@dataclass(frozen=True)
class DockerRun:
    """What one line asks for."""

    image: str
    arguments: Sequence[str]
    flags: frozenset[str]
    values: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def ours(self) -> bool:
        """Whether it runs this project's image."""
        return _OURS.fullmatch(self.image) is not None

    def value(self, name: str) -> str | None:
        """The last value of an option that is given."""
        given = self.values.get(name)
        return given[-1] if given else None


def docker_runs(page: str) -> list[str]:
    """Every ``docker run`` line of a page of Markdown."""
    return [line.strip() for line in _LINE.findall(page)]


def read_line(line: str, shell: Mapping[str, str]) -> DockerRun:
    """Read a line; ``shell`` has the shell's variables and the page's ``{PLACEHOLDERS}``."""
    filled = re.sub(r"\$(\w+)|\{(\w+)\}", lambda match: shell[match[1] or match[2]], line)
    words = shlex.split(filled.replace("...", ""))[2:]
    flags: set[str] = set()
    values: dict[str, list[str]] = {}
    while words and words[0].startswith("-"):
        name, joined, value = words.pop(0).partition("=")
        if name in _SWITCHES:
            flags.add(name)
        else:
            values.setdefault(name, []).append(value if joined else words.pop(0))
    return DockerRun(words[0], tuple(words[1:]), frozenset(flags), values)


def spec_of(run: DockerRun, image: Image, name: str, volumes: Path, directory: Path) -> Spec:
    """The container that docker would make.

    Named volumes are below ``volumes``; a new one begins as what the image has at that place. The env file is
    looked for in ``directory``.
    """
    known = {"-p", "-v", "-e", "--env-file", "--user", "--cap-drop", "--security-opt", "--name", "--tmpfs"}
    assert set(run.values) <= known, run
    user, _, group = str(run.value("--user") or image.config["User"]).partition(":")
    environ = dict(image.environ)
    if (env_file := run.value("--env-file")) is not None:
        environ |= read_env_file((directory / env_file).read_text())
    environ |= dict(pair.partition("=")[::2] for pair in run.values.get("-e", ()))
    mounts = [_volume(text, image, volumes) for text in run.values.get("-v", ())]
    mounts += [Mount(None, target) for target in run.values.get("--tmpfs", ())]
    taken = {mount.target for mount in mounts}
    # A volume that the image declares and nobody mounts is a new one.
    anonymous = [path for path in image.config.get("Volumes") or {} if path not in taken]
    mounts += [_volume(f"{name}{path.replace('/', '-')}:{path}", image, volumes) for path in anonymous]
    return Spec(
        name,
        image.root,
        [*image.config["Entrypoint"], *run.arguments],
        environ,
        mounts,
        int(user),
        int(group or 0),
        read_only="--read-only" in run.flags,
    )


def read_env_file(text: str) -> dict[str, str]:
    """The environment that docker makes of such a file: nothing is trimmed, and ``//`` is refused."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    assert not [line for line in lines if " " in line.partition("=")[0]], "docker refuses this"
    return dict(line.partition("=")[::2] for line in lines)


def named_volume(place: Path, target: str, image: Image) -> Path:
    """A volume kept at ``place``; a new one takes over owner and mode of what it covers in the image."""
    if not place.exists():
        place.mkdir(parents=True)
        covered = image.root / target.lstrip("/")
        if covered.is_dir():
            owner = covered.stat()
            os.chown(place, owner.st_uid, owner.st_gid)
            place.chmod(owner.st_mode & 0o7777)
    return place


def _volume(text: str, image: Image, volumes: Path) -> Mount:
    source, target, *options = text.split(":")
    place = Path(source)
    if not place.is_absolute():
        place = named_volume(volumes / source, target, image)
    return Mount(place, target, read_only="ro" in options)
