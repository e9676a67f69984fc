"""make release VERSION=1.2.3: version, changelog, tag, packages, bill of materials, checksums.

Everything happens in a clone in a temporary directory, which is thrown away. With --publish the commit and
the tag are fetched into this repository, and the files are left in dist/VERSION: pushing is up to you.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from scripts.generated import ROOT
from scripts.locked import read_lock
from scripts.notice import notice
from scripts.packages import build_packages, checksums, commit_time
from scripts.project import read_project
from scripts.sbom import write_sbom

_NUMBERS: Final = re.compile(r"(\d+)\.(\d+)\.(\d+)")
_UNRELEASED: Final = "## [Unreleased]\n"
_SUMS: Final = "SHA256SUMS"

# Where the version stands: the text around it, which must be there.
_PLACES: Final[Mapping[str, tuple[str, ...]]] = {
    "pyproject.toml": ('version = "{}"\n',),
    "src/ff_proxy/__init__.py": ('__version__ = "{}"\n',),
    "deploy/helm/ff-proxy/Chart.yaml": ("version: {}\n", 'appVersion: "{}"\n'),
    "deploy/kubernetes/ff-proxy.yaml": ('app.kubernetes.io/version: "{}"\n', 'image: "ff-proxy:{}"\n'),
}


class ReleaseError(Exception):
    """It cannot be released like this; the text says why, and what to do."""


def release(version: str, repository: Path, target: Path, *, publish: bool) -> list[Path]:
    """Make the release of ``repository`` as it is committed; returns the files, in ``target``.

    Raises ``ReleaseError``, or ``subprocess.CalledProcessError`` if git or the build fails.
    """
    _check(version, repository)
    with tempfile.TemporaryDirectory() as directory:
        clone = Path(directory, "clone")
        quiet = ("-c", "advice.detachedHead=false", "clone", "--quiet")
        _git(repository, *quiet, "--no-hardlinks", ".", str(clone))
        for name in ("user.name", "user.email"):
            _git(clone, "config", name, _git(repository, "config", name))
        _write_version(clone, version)
        _write_changelog(clone / "CHANGELOG.md", version)
        _git(clone, "commit", "--quiet", "--all", "--allow-empty", "--message", f"Release {version}")
        _git(clone, "tag", "--annotate", "--message", f"ff-proxy {version}", f"v{version}")
        files = _artefacts(clone, Path(directory, "again"), target)
        if publish:
            _git(repository, "fetch", "--quiet", str(clone), "tag", f"v{version}")
            _git(repository, "merge", "--quiet", "--ff-only", f"v{version}^{{commit}}")
    return files


def _check(version: str, repository: Path) -> None:
    now, wanted = read_project(repository).version, _NUMBERS.fullmatch(version)
    if wanted is None:
        raise ReleaseError(f"{version} is not a version of three numbers, such as 1.2.3")
    if _git(repository, "status", "--porcelain", "--untracked-files=no"):
        raise ReleaseError("something is not committed: commit it first, a release is of what is committed")
    if _git(repository, "tag", "--list", f"v{version}"):
        raise ReleaseError(f"{version} is released already: there is a tag v{version}")
    if _order(version) < _order(now):
        raise ReleaseError(f"{version} is older than {now}, which pyproject.toml says")
    if (repository / "NOTICE").read_text(encoding="utf-8") != notice():
        raise ReleaseError("NOTICE is out of date: run make notice, and commit it")


def _order(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _write_version(clone: Path, version: str) -> None:
    old = read_project(clone).version
    for name, places in _PLACES.items():
        file = clone / name
        text = file.read_text(encoding="utf-8")
        for place in places:
            if place.format(old) not in text:
                raise ReleaseError(f"{name} does not say {place.format(old).strip()}")
            text = text.replace(place.format(old), place.format(version))
        file.write_text(text, encoding="utf-8")


def _write_changelog(file: Path, version: str) -> None:
    """Put what is unreleased under the version and today's date (or that of ``SOURCE_DATE_EPOCH``)."""
    text = file.read_text(encoding="utf-8")
    head, heading, rest = text.partition(_UNRELEASED)
    if not rest.partition("\n## ")[0].strip():
        raise ReleaseError("CHANGELOG.md has nothing under Unreleased: say what users will notice")
    moment = float(os.environ.get("SOURCE_DATE_EPOCH") or time.time())
    day = datetime.fromtimestamp(moment, UTC).date()
    file.write_text(f"{head}{heading}\n## [{version}] - {day}\n{rest}", encoding="utf-8")


def _artefacts(clone: Path, again: Path, target: Path) -> list[Path]:
    files = build_packages(clone, "HEAD", target)
    if checksums(files) != checksums(build_packages(clone, "HEAD", again)):
        raise ReleaseError("a second build gave other files: the build cannot be repeated")
    files.append(write_sbom(read_project(clone), read_lock(), target, commit_time(clone, "HEAD")))
    sums = target / _SUMS
    sums.write_text(checksums(files), encoding="utf-8")
    return [*files, sums]


def _git(repository: Path, *arguments: str) -> str:
    command = ["git", "-C", str(repository), *arguments]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def main(arguments: list[str]) -> int:
    """Make the release, or only try it; exit code 2 if that cannot be."""
    parser = argparse.ArgumentParser(prog="make release", description=__doc__)
    parser.add_argument("version", metavar="VERSION", help="three numbers: 1.2.3")
    parser.add_argument("--publish", action="store_true", help="keep the commit, the tag and the files")
    chosen = parser.parse_args(arguments)
    target = ROOT / "dist" / chosen.version if chosen.publish else Path(tempfile.mkdtemp())
    try:
        files = release(chosen.version, ROOT, target, publish=chosen.publish)
        sys.stdout.write((target / _SUMS).read_text(encoding="utf-8"))
    except ReleaseError as error:
        sys.stderr.write(f"not released: {error}\n")
        return 2
    finally:
        if not chosen.publish:
            shutil.rmtree(target)
    if chosen.publish:
        sys.stdout.write(
            f"{len(files)} files are in {target.relative_to(ROOT)}; v{chosen.version} is tagged\n"
        )
    else:
        sys.stdout.write("this was a try, nothing is changed: make release VERSION=… PUBLISH=1 does it\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
