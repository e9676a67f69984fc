"""The image's recipe works, step by step, without a container engine.

Its COPY and RUN instructions are carried out below a temporary directory that stands for ``/``, on this
machine's Python, and the entry point is then called as ``docker run`` would.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import pytest

from ff_proxy.config.records import ALL, OfflineOptions, ServingOptions
from ff_proxy.errors import ExitCode

PROJECT = Path(__file__).parents[2]
NOBODY = "65534"

pytestmark = pytest.mark.timeout(180)  # the first test waits for the whole recipe, with its downloads


@dataclass(frozen=True)
class Instruction:
    """One line of a Dockerfile, its continuation lines joined."""

    keyword: str
    text: str


def read_dockerfile() -> list[list[Instruction]]:
    """The instructions of each stage; what stands before the first FROM is left out."""
    text = re.sub(r"(?m)^\s*#.*\n", "", (PROJECT / "Dockerfile").read_text(encoding="utf-8"))
    stages: list[list[Instruction]] = []
    for line in text.replace("\\\n", " ").splitlines():
        keyword, _, rest = line.partition(" ")
        if keyword == "FROM":
            stages.append([])
        if stages and keyword:
            stages[-1].append(Instruction(keyword, rest.strip()))
    return stages


def only(stage: Sequence[Instruction], keyword: str) -> str:
    """The text of the one instruction of that kind."""
    (text,) = [instruction.text for instruction in stage if instruction.keyword == keyword]
    return text


def sent_to_the_engine(path: str) -> bool:
    """Whether ``.dockerignore`` lets a path through: the last rule that matches decides."""
    sent = True
    for rule in (PROJECT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        pattern = rule.removeprefix("!").removeprefix("**/")
        if (
            rule
            and not rule.startswith("#")
            and (fnmatch(path, pattern) or fnmatch(Path(path).name, pattern))
        ):
            sent = rule.startswith("!")
    return sent


class Machine:
    """A directory that stands for the image's file system."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._directory = root
        programs = root / "usr/bin"
        programs.mkdir(parents=True)
        (programs / "python").symlink_to(sys.executable)
        self._path = f"{programs}:{os.environ['PATH']}"

    def carry_out(self, instruction: Instruction) -> None:
        """Do what the instruction says, if it changes files."""
        match instruction.keyword:
            case "WORKDIR":
                self._directory = self._inside(instruction.text)
                self._directory.mkdir(exist_ok=True)
            case "COPY" if not instruction.text.startswith("--from"):
                self._copy(instruction.text.split())
            case "RUN":
                self._run(instruction.text)

    def call(self, command: Sequence[str], environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
        """Call a command of the image with that environment."""
        path = f"{self.root}/opt/ff-proxy/bin"
        return subprocess.run(
            [f"{path}/{command[0]}", *command[1:]],
            env={"PATH": path, **environ},
            cwd=self.root,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )

    def _inside(self, path: str) -> Path:
        return self.root / path.removeprefix("/")

    def _copy(self, words: list[str]) -> None:
        *sources, target = words
        for source in sources:
            assert sent_to_the_engine(source.rstrip("/")), source
            if source.endswith("/"):
                shutil.copytree(
                    PROJECT / source, self._directory / target, ignore=shutil.ignore_patterns("*.egg-info")
                )
            else:
                (self._directory / target).mkdir(exist_ok=True)
                shutil.copy(PROJECT / source, self._directory / target)

    def _run(self, text: str) -> None:
        command = re.sub(r"(?<=\s)/(?=opt|config|data)", f"{self.root}/", f" {text}")
        if os.geteuid() != 0:
            command = command.replace(f"-o {NOBODY} -g {NOBODY}", "")
        environ = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PYTHON", "VIRTUAL_ENV"))
        }
        done = subprocess.run(
            ["sh", "-ec", command],
            env=environ | {"PATH": self._path},
            cwd=self._directory,
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    """Both stages carried out."""
    with tempfile.TemporaryDirectory(prefix="image-") as root:
        machine = Machine(Path(root))
        for stage in read_dockerfile():
            for instruction in stage:
                machine.carry_out(instruction)
        yield machine


def test_the_bare_image_lists_every_option_and_what_is_missing(machine: Machine) -> None:
    """``docker run harness/ff-proxy``, as the deployment page says."""
    _, image = read_dockerfile()
    done = machine.call(_exec_form(only(image, "ENTRYPOINT")), {})
    assert done.returncode == ExitCode.BAD_CONFIGURATION, done.stderr
    assert all(f"-{option.flag}" in done.stdout for option in ALL)
    assert done.stderr.endswith("account-identifier, org-identifier, admin-service-token, api-keys\n")


def test_the_image_holds_what_the_lock_names_and_nothing_else(machine: Machine) -> None:
    """No build tool, no pip, and our package as a wheel of its own."""
    lock = (PROJECT / "requirements/runtime.txt").read_text(encoding="utf-8")
    pinned = {_normal(name) for name in re.findall(r"(?m)^([A-Za-z0-9._-]+)==", lock)}
    script = (
        "import importlib.metadata as m; print(*[d.metadata['Name'] for d in m.distributions()], sep='\\n')"
    )
    installed = machine.call(["python", "-c", script], {}).stdout.split()
    assert {_normal(name) for name in installed} == pinned | {"ff-proxy"}
    where = machine.call(["python", "-c", "import ff_proxy; print(ff_proxy.__file__)"], {}).stdout
    assert where.startswith(f"{machine.root}/opt/ff-proxy/lib/")
    assert (machine.root / "opt/ff-proxy/lib").is_dir()


def test_the_directories_of_the_image_can_be_written_without_being_root(machine: Machine) -> None:
    """The offline configuration is generated into one, the embedded store lives in the other."""
    if os.geteuid() == 0:
        assert {(machine.root / name).stat().st_uid for name in ("config", "data")} == {int(NOBODY)}
    assert (machine.root / "config").is_dir()


def test_the_images_probe_tells_that_nothing_runs(machine: Machine) -> None:
    """The command of HEALTHCHECK exists and needs no configuration."""
    _, image = read_dockerfile()
    command = _exec_form(only(image, "HEALTHCHECK").partition("CMD")[2])
    done = machine.call([*command, "-port=1"], {})
    assert done.returncode == 1
    assert "no answer from 127.0.0.1:1" in done.stdout


def test_the_image_is_what_the_product_page_promises() -> None:
    """Not root, port 7000, a volume for the directory, the same base in both stages for any architecture."""
    build, image = read_dockerfile()
    assert only(image, "USER") == f"{NOBODY}:{NOBODY}"
    assert only(image, "EXPOSE") == str(ServingOptions().port)
    assert only(image, "VOLUME") == str(OfflineOptions().config_dir)
    assert only(image, "FROM") == "python:${PYTHON}-slim"
    assert only(build, "FROM") == f"{only(image, 'FROM')} AS build"
    assert not any(instruction.keyword == "CMD" for instruction in image)


def test_nothing_but_the_recipes_needs_reaches_the_engine() -> None:
    """In particular no ``.env`` and no repository history."""
    refused = (".env", ".git", ".venv", "tests", "docs", "requirements/dev.in", "src/ff_proxy.egg-info")
    assert not [path for path in refused if sent_to_the_engine(path)]
    assert sent_to_the_engine("src")


def _exec_form(text: str) -> list[str]:
    return [word.strip(',"') for word in shlex.split(text.strip().strip("[]"))]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
