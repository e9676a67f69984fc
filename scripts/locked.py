"""The packages that the proxy runs on, as requirements/runtime.txt locks them, and their licences.

Licences and copyrights are read from the packages that are installed here, as ``make install`` does it.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, distribution
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from scripts.generated import ROOT

RUNTIME: Final = ROOT / "requirements/runtime.txt"

ALLOWED: Final = frozenset({"Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "PSF-2.0"})
"""Licences of packages that the proxy may use: none puts conditions on merely running it."""

# For packages that name their licence in words.
_BY_CLASSIFIER: Final[Mapping[str, str]] = {
    "License :: OSI Approved :: Apache Software License": "Apache-2.0",
    "License :: OSI Approved :: MIT License": "MIT",
}
# There are several BSD licences: read in the package's own file.
_READ: Final[Mapping[str, str]] = {"google-re2": "BSD-3-Clause", "jinja2": "BSD-3-Clause"}
_COPYRIGHT: Final = re.compile(r"(?im)^\W*(Copyright\b.*\b(?:19|20)\d\d\b.*?)[\s.,]*$")
_LICENCE_FILE: Final = re.compile(r"licen[cs]e|copying|notice", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Package:
    """One line of a lock, and what the package says of itself.

    Attributes:
        hashes: SHA-256 of each of its files, in hex.
        licence: an SPDX expression; empty if unknown.
        needs: names of packages that it depends on, here.
    """

    name: str
    version: str
    hashes: tuple[str, ...]
    licence: str
    copyrights: tuple[str, ...]
    needs: tuple[str, ...]

    @property
    def may_be_used(self) -> bool:
        """Whether all of its licences are allowed, or all of one of its alternatives."""
        alternatives = [alternative.split(" AND ") for alternative in self.licence.split(" OR ")]
        return any(ALLOWED.issuperset(together) for together in alternatives)


def read_lock(path: Path = RUNTIME) -> list[Package]:
    """What is in the lock; raises ``PackageNotFoundError`` for what is not installed here."""
    lines = path.read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
    return [_package(line) for line in lines if re.match(r"[A-Za-z0-9]", line)]


def _package(line: str) -> Package:
    requirement, *hashes = line.split(" --hash=sha256:")
    wanted = Requirement(requirement)
    ((_, version),) = [(one.operator, one.version) for one in wanted.specifier]
    installed = distribution(wanted.name)
    return Package(
        canonicalize_name(wanted.name),
        version,
        tuple(sorted(one.strip() for one in hashes)),
        _licence(canonicalize_name(wanted.name), installed),
        tuple(dict.fromkeys(_copyrights(installed))),
        tuple(sorted(_needs(installed.requires or ()))),
    )


def _licence(name: str, installed: Distribution) -> str:
    said = installed.metadata
    if "License-Expression" in said:
        return said["License-Expression"]
    if name in _READ:
        return _READ[name]
    if "License" in said and said["License"] in ALLOWED:
        return said["License"]
    classifiers = said.get_all("Classifier") or ()
    found = {_BY_CLASSIFIER.get(one, "") for one in classifiers if one.startswith("License ::")}
    return " OR ".join(sorted(found)) if found and all(found) else ""


def _copyrights(installed: Distribution) -> Iterator[str]:
    for file in installed.files or ():
        if file.parts[0].endswith(".dist-info") and _LICENCE_FILE.search(file.name):
            for line in _COPYRIGHT.findall(file.read_text(encoding="utf-8")):
                yield " ".join(line.split())


def _needs(requirements: Sequence[str]) -> Iterator[str]:
    for text in requirements:
        needed = Requirement(text)
        if needed.marker is None or needed.marker.evaluate({"extra": ""}):
            yield canonicalize_name(needed.name)
