"""What the project says it is made of can be read by other people's tools."""

from pathlib import Path

from scripts.generated import ROOT
from scripts.locked import read_lock
from scripts.project import read_project
from scripts.sbom import write_sbom


def test_the_bill_of_materials_is_valid(tmp_path: Path) -> None:
    """By the schema of CycloneDX 1.6."""
    # Loading them takes two seconds of CPU, which every process of the suite would spend while it collects.
    from cyclonedx.schema import SchemaVersion  # noqa: PLC0415
    from cyclonedx.validation.json import JsonStrictValidator  # noqa: PLC0415

    file = write_sbom(read_project(ROOT), read_lock(), tmp_path, 1_700_000_000)
    assert not JsonStrictValidator(SchemaVersion.V1_6).validate_str(file.read_text("utf-8"))
