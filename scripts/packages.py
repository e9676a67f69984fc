"""Builds wheel and source distribution of a commit, the same bytes at any time and place: make packages."""

import argparse
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from scripts.generated import ROOT


def build_packages(repository: Path, commit: str, target: Path) -> list[Path]:
    """Build ``commit`` into the directory ``target``: the source distribution, and out of that the wheel.

    Nothing but what is committed gets into them. Raises ``CalledProcessError`` if git or the build fails.
    """
    with tempfile.TemporaryDirectory() as directory:
        source, built = Path(directory, "source"), Path(directory, "built")
        archive = _git(repository, "archive", "--format=tar", commit)
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            tar.extractall(source, filter="data")
        done = subprocess.run(
            [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(built), str(source)],
            env=os.environ | {"SOURCE_DATE_EPOCH": str(commit_time(repository, commit))},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode:
            sys.stderr.write(done.stdout)
            done.check_returncode()
        target.mkdir(parents=True, exist_ok=True)
        return [Path(shutil.copy2(path, target)) for path in sorted(built.iterdir())]


def commit_time(repository: Path, commit: str) -> int:
    """When it was committed, in seconds since the epoch."""
    return int(_git(repository, "log", "-1", "--format=%ct", commit))


def checksums(files: list[Path]) -> str:
    """Lines as ``sha256sum --check`` reads them."""
    return "".join(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files)


def _git(repository: Path, *arguments: str) -> bytes:
    command = ["git", "-C", str(repository), *arguments]
    return subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout


def main(arguments: list[str]) -> int:
    """Build what is committed, and print the checksums."""
    parser = argparse.ArgumentParser(prog="scripts.packages", description=__doc__)
    parser.add_argument("--commit", default="HEAD", help="what to build (HEAD)")
    parser.add_argument("--target", type=Path, default=ROOT / "dist", help="directory to build into (dist)")
    chosen = parser.parse_args(arguments)
    sys.stdout.write(checksums(build_packages(ROOT, chosen.commit, chosen.target)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
