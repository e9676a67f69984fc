"""Wheel and source distribution: what is in them, that they can be built again, and that the wheel works."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from signal import SIGTERM

import pytest
from packaging.metadata import Metadata
from packaging.requirements import Requirement
from trove_classifiers import classifiers

from ff_proxy import __version__
from scripts.packages import build_packages, checksums
from scripts.project import read_project
from tests.support.checkout import PROJECT, committed_copy, tracked_files
from tests.support.commands import Command
from tests.support.image import CACHE
from tests.support.local_http import local_http
from tests.support.offline import ENV, bakery
from tests.support.ports import free_port
from tests.support.pythons import PYTHONS, interpreter
from tests.support.skips import NOT_TESTED

pytestmark = pytest.mark.timeout(300)  # the first run on a machine downloads what the proxy runs on

RUNTIME = PROJECT / "requirements/runtime.txt"
PAGE = PROJECT / "docs/install/packages.md"
DEV = PROJECT / "requirements/dev.txt"
PREFIX = f"ff_proxy-{__version__}"


@dataclass(frozen=True)
class Packages:
    """What was built, and the repository that it was built from."""

    repository: Path
    wheel: Path
    source: Path


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Packages:
    """Of what is in this checkout now."""
    directory = tmp_path_factory.mktemp("packages")
    repository = committed_copy(directory / "repository")
    wheel, source = build_packages(repository, "HEAD", directory / "dist")
    return Packages(repository, wheel, source)


def test_the_wheel_holds_the_package_and_nothing_else(packages: Packages) -> None:
    """Everything that the product needs at run time, pages and styles too; no tests, nobody's leftovers."""
    with zipfile.ZipFile(packages.wheel) as wheel:
        names = set(wheel.namelist())
    ours = {name.removeprefix("src/") for name in tracked_files() if name.startswith("src/")}
    assert {
        "ff_proxy/py.typed",
        "ff_proxy/admin/static/style.css",
        "ff_proxy/admin/templates/base.html",
    } < ours
    about = {f"{PREFIX}.dist-info/{name}" for name in ("METADATA", "RECORD", "WHEEL", "entry_points.txt")}
    licences = {f"{PREFIX}.dist-info/licenses/{name}" for name in ("LICENSE", "NOTICE")}
    assert names == ours | about | licences


def test_the_source_distribution_holds_what_builds_and_explains_it(packages: Packages) -> None:
    """With the locks of what it is built and run with."""
    with tarfile.open(packages.source) as source:
        names = {name.removeprefix(f"{PREFIX}/") for name in source.getnames()}
    beside = {"CHANGELOG.md", "LICENSE", "NOTICE", "PKG-INFO", "README.md", "SECURITY.md", "pyproject.toml"}
    locks = {f"requirements/{name}.{kind}" for name in ("build", "runtime") for kind in ("in", "txt")}
    assert names == beside | locks | {name for name in tracked_files() if name.startswith("src/")}


def test_their_metadata_is_as_an_index_takes_it(packages: Packages) -> None:
    """Valid field by field; classifiers that exist and agree with the rest; the README as description."""
    with zipfile.ZipFile(packages.wheel) as wheel:
        read = Metadata.from_email(wheel.read(f"{PREFIX}.dist-info/METADATA"), validate=True)
    assert (read.name, str(read.version), read.license_expression) == ("ff-proxy", __version__, "Apache-2.0")
    assert read.license_files == ["LICENSE", "NOTICE"]
    assert set(read.classifiers or ()) <= classifiers
    assert read.description is not None
    assert read.description.strip() == (PROJECT / "README.md").read_text("utf-8").strip()
    assert read.description_content_type == "text/markdown"
    assert read.requires_python is not None
    for version in PYTHONS:
        assert f"Programming Language :: Python :: {version}" in (read.classifiers or ())
        assert f"{version}.0" in read.requires_python
    assert read.provides_extra == ["demo", "otel"]
    assert all(url.startswith("https://") for url in (read.project_urls or {}).values())
    wanted = {str(Requirement(text)) for text in read_project(PROJECT).dependencies}
    assert wanted == {str(one) for one in read.requires_dist or () if "extra ==" not in str(one)}


def test_the_same_commit_gives_the_same_files(
    packages: Packages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In another clone, at another time and place, by somebody with other habits."""
    clone = tmp_path / "another" / "clone"
    subprocess.run(["git", "clone", "--quiet", str(packages.repository), str(clone)], check=True)
    (clone / "src/ff_proxy/forgotten.py").write_text("'Not committed.'\n")
    monkeypatch.setenv("TZ", "Pacific/Apia")
    monkeypatch.setenv("LC_ALL", "C")
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    before = os.umask(0o077)
    try:
        again = build_packages(clone, "HEAD", tmp_path / "dist")
    finally:
        os.umask(before)
    assert [digest(file) for file in again] == [digest(packages.wheel), digest(packages.source)]


def digest(file: Path) -> str:
    """SHA-256 in hex."""
    return sha256(file.read_bytes()).hexdigest()


@pytest.mark.parametrize("version", PYTHONS)
async def test_the_wheel_works(
    version: str, packages: Packages, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Installed without a network, by hash, where nothing else is; flags are served, and the admin pages."""
    python = interpreter(version)
    if python is None:
        record_property(NOT_TESTED, f"there is no Python {version} on this machine")
        return
    installed = install(python, version, packages.wheel, tmp_path)
    said = json.loads(run(installed / "ff-proxy", "version", "-json"))
    assert said["version"] == __version__
    assert said["python"].startswith(f"{version}.")
    bakery(tmp_path / "config")
    port, admin = free_port(), free_port()
    options = [f"-config-dir={tmp_path / 'config'}", "-offline", "-bypass-auth", "-shutdown-delay=0"]
    ports = [f"-port={port}", f"-admin-address=127.0.0.1:{admin}"]
    proxy = Command.installed(installed / "ff-proxy", *options, *ports, directory=tmp_path)
    await proxy.start()
    await proxy.until('"ready"')
    async with local_http() as http:
        flags = await http.get(f"http://127.0.0.1:{port}/client/env/{ENV}/feature-configs")
        page = await http.get(f"http://127.0.0.1:{admin}/")
        style = await http.get(f"http://127.0.0.1:{admin}/static/style.css")
    assert {flag["feature"] for flag in flags.json()} == {"glaze", "yeast"}
    assert (page.status_code, style.status_code) == (200, 200)
    proxy.signal(SIGTERM)
    assert await proxy.end() == 0


PLATFORMS = {
    "Linux": ("manylinux_2_28_{}", "manylinux_2_17_{}", "manylinux2014_{}"),
    "macOS": tuple(f"macosx_{release}_0_{{}}" for release in range(11, 16)),
}


@pytest.mark.parametrize(
    ("system", "machine", "version"),
    [
        ("Linux", "x86_64", "3.14"),
        ("Linux", "aarch64", "3.11"),
        ("Linux", "aarch64", "3.13"),
        ("macOS", "arm64", "3.14"),
    ],
)
def test_there_are_wheels_of_what_it_runs_on(system: str, machine: str, version: str) -> None:
    """Nothing has to be compiled where it cannot be tried here: on ARM, on the newest Python, on macOS."""
    pip(
        *("install", "--dry-run", "--ignore-installed", "--no-deps", "--target=/nonexistent"),
        *("--require-hashes", "--requirement", RUNTIME),
        *("--only-binary=:all:", "--implementation=cp", f"--python-version={version}"),
        *(f"--platform={platform.format(machine)}" for platform in PLATFORMS[system]),
    )


def test_its_demo_works(packages: Packages, tmp_path: Path) -> None:
    """With the extra of that name, on the interpreter that runs this."""
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    installed = install(Path(sys.executable), version, packages.wheel, tmp_path, extra="[demo]", lock=DEV)
    assert "dark_mode is true" in run(installed / "ff-proxy", "demo")


BLOCKS = re.findall(r"(?ms)^```\n(.*?)^```$", PAGE.read_text("utf-8"))


@pytest.mark.parametrize("commands", BLOCKS, ids=[block.split()[0] for block in BLOCKS])
def test_the_commands_of_the_page_work(commands: str, packages: Packages, tmp_path: Path) -> None:
    """Where nothing but a release is, and no network: pip, pipx and uv leave a command that runs."""
    wheels = downloaded(Path(sys.executable), f"{sys.version_info[0]}.{sys.version_info[1]}")
    for package in (packages.wheel, packages.source):
        shutil.copy(package, tmp_path)
    (tmp_path / "SHA256SUMS").write_text(checksums([packages.wheel, packages.source]))
    programs = tmp_path / "programs"
    offline = {
        "PIP_NO_INDEX": "1",
        "PIP_NO_COMPILE": "1",
        "PIP_FIND_LINKS": str(wheels),
        "UV_NO_INDEX": "1",
        "UV_FIND_LINKS": str(wheels),
    }
    homes = {
        "HOME": str(tmp_path),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PIPX_BIN_DIR": str(programs),
        "UV_TOOL_BIN_DIR": str(programs),
        "UV_PYTHON": sys.executable,
    }
    done = subprocess.run(
        ["bash", "-ec", commands],
        cwd=tmp_path,
        env=homes | offline | {"UV_OFFLINE": "1"},
        timeout=200,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    if commands.startswith(("pipx", "uv")):
        assert __version__ in run(programs / "ff-proxy", "version")
    else:
        assert done.stdout


def install(
    python: Path, version: str, wheel: Path, directory: Path, *, extra: str = "", lock: Path = RUNTIME
) -> Path:
    """Install the wheel and what the lock names, offline; returns the directory of its programs."""
    environment, wanted = directory / "environment", directory / "wanted.txt"
    run(python, "-m", "venv", "--without-pip", environment)
    wanted.write_text(f"ff-proxy{extra} @ {wheel.as_uri()} --hash=sha256:{digest(wheel)}\n")
    pip(
        *("--isolated", "--python", environment, "install", "--require-hashes", "--no-compile"),
        *("--no-index", "--find-links", downloaded(python, version)),
        *("--requirement", wanted, "--constraint", lock),
    )
    return environment / "bin"


def downloaded(python: Path, version: str) -> Path:
    """A directory with what the proxy and its demo need on that Python, as locked; downloaded once."""
    wheels = CACHE / f"wheels-{version}-{digest(DEV)[:16]}"
    if not wheels.exists():
        for old in CACHE.glob(f"wheels-{version}-*"):
            shutil.rmtree(old)
        partial = wheels.with_name(f"{wheels.name}.{os.getpid()}")
        what = ("--requirement", RUNTIME, "harness-featureflags", "--constraint", DEV)
        pip("--python", python, "download", "--require-hashes", "--dest", partial, *what)
        partial.rename(wheels)
    return wheels


def pip(*arguments: str | Path) -> None:
    """Call the pip of this environment."""
    run(sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments)


def run(*command: str | Path) -> str:
    """What it says; it must succeed."""
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout
