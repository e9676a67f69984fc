"""The interpreters that this machine has, of those on which the proxy runs."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

PYTHONS: Final = ("3.11", "3.12", "3.13", "3.14")
"""As the classifiers in pyproject.toml say."""


@cache
def interpreter(version: str) -> Path | None:
    """One of that version which can make environments: on PATH, or kept by pyenv."""
    return next((found for found in _candidates(version) if _is(found, version)), None)


def _candidates(version: str) -> Iterator[Path]:
    if on_path := shutil.which(f"python{version}"):
        yield Path(on_path)
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from sorted(root.glob(f"versions/{version}.*/bin/python{version}"), reverse=True)


def _is(python: Path, version: str) -> bool:
    script = "import sys, venv; print('%d.%d' % sys.version_info[:2])"
    done = subprocess.run(
        [str(python), "-c", script], capture_output=True, text=True, timeout=20, check=False
    )
    return done.returncode == 0 and done.stdout.strip() == version
