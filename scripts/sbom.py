"""The bill of materials in CycloneDX: ff-proxy and every package that it runs on, with licences and hashes.

The same version and lock give the same bytes.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from uuid import NAMESPACE_URL, uuid5

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from scripts.locked import Package
from scripts.project import Project

_LICENCES: Final = LicenseFactory()


def write_sbom(project: Project, packages: Sequence[Package], target: Path, moment: int) -> Path:
    """Write it to the directory ``target`` and return the file; ``moment`` is its time, since the epoch."""
    bom = Bom(components=(_component(package) for package in packages))
    proxy = Component(
        name=project.name,
        version=project.version,
        type=ComponentType.APPLICATION,
        bom_ref=project.name,
        purl=PackageURL("pypi", None, project.name, project.version),
        licenses=[_LICENCES.make_from_string(project.licence)],
    )
    bom.metadata.component = proxy
    bom.metadata.timestamp = datetime.fromtimestamp(moment, UTC)
    bom.metadata.tools.components.clear()
    by_name = {component.name: component for component in bom.components}
    direct = [canonicalize_name(Requirement(text).name) for text in project.dependencies]
    bom.register_dependency(proxy, [by_name[name] for name in direct if name in by_name])
    for package in packages:
        needed = [by_name[name] for name in package.needs if name in by_name]
        bom.register_dependency(by_name[package.name], needed)
    bom.serial_number = uuid5(NAMESPACE_URL, f"{project.name} {project.version} {_fingerprint(by_name)}")
    file = target / f"{project.name}-{project.version}.cdx.json"
    file.write_text(JsonV1Dot6(bom).output_as_string(indent=2) + "\n", encoding="utf-8")
    return file


def _component(package: Package) -> Component:
    return Component(
        name=package.name,
        version=package.version,
        type=ComponentType.LIBRARY,
        bom_ref=package.name,
        purl=PackageURL("pypi", None, package.name, package.version),
        licenses=[_LICENCES.make_from_string(package.licence)] if package.licence else (),
        copyright="\n".join(package.copyrights) or None,
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=one) for one in package.hashes],
    )


def _fingerprint(components: Iterable[str]) -> str:
    return " ".join(sorted(components))
