"""This checkout as a repository of its own: what is there now, committed or not, as one commit."""

import shutil
import subprocess
from pathlib import Path
from typing import Final

PROJECT: Final = Path(__file__).parents[2]


def git(repository: Path, *arguments: str) -> str:
    """Call git there; it must succeed."""
    command = ["git", "-C", str(repository), *arguments]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=60).stdout.strip()


def tracked_files() -> list[str]:
    """What belongs to the checkout, but for what git ignores."""
    names = git(PROJECT, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    return sorted(name for name in names if name and (PROJECT / name).is_file())


def committed_copy(directory: Path) -> Path:
    """A repository in ``directory`` with one commit of everything but tests and pictures."""
    for name in tracked_files():
        if not name.startswith(("tests/", "bench/", "docs/")):
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(PROJECT / name, directory / name)
    git(directory, "init", "--quiet", "--initial-branch", "main")
    git(directory, "config", "user.name", "A tester")
    git(directory, "config", "user.email", "tester@example.com")
    git(directory, "add", "--all")
    git(directory, "commit", "--quiet", "--message", "Everything")
    return directory
