"""What pyproject.toml says of this project."""

import tomllib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Project:
    """Its name, version, licence, and what it runs on."""

    name: str
    version: str
    licence: str
    dependencies: tuple[str, ...]


def read_project(root: Path) -> Project:
    """The project in the directory ``root``."""
    said = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return Project(said["name"], said["version"], said["license"], tuple(said["dependencies"]))
