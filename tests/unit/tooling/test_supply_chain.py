"""What the proxy runs on is known: licences, notice, bill of materials, vulnerabilities."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from ff_proxy import __version__
from scripts import audit, notice
from scripts.generated import ROOT, write_or_check
from scripts.locked import RUNTIME, Package, read_lock
from scripts.project import read_project
from scripts.sbom import write_sbom

LOCKED = dict(re.findall(r"(?m)^([a-z0-9-]+)==(\S+)", RUNTIME.read_text("utf-8")))
CLEAN = {"name": "a", "version": "1", "vulns": []}
UNKNOWN = {"name": "b", "version": "2", "skip_reason": "not found"}
BAD = {"name": "c", "version": "3", "vulns": [{"id": "CVE-1", "fix_versions": ["3.1", "4"]}]}


@pytest.fixture(scope="module")
def packages() -> list[Package]:
    """What is locked."""
    return read_lock()


def test_the_lock_is_read_whole(packages: list[Package]) -> None:
    """Every package with the version that is installed here, files and who needs whom."""
    assert {one.name: one.version for one in packages} == LOCKED
    assert sum(len(one.hashes) for one in packages) == RUNTIME.read_text("utf-8").count("--hash=sha256:")
    needs = {one.name: one.needs for one in packages}
    assert "markupsafe" in needs["jinja2"]
    assert "h11" in needs["uvicorn"]


def test_every_licence_is_one_that_is_allowed(packages: list[Package]) -> None:
    """Here, where a new dependency is added: not only when somebody calls make audit."""
    code, lines = audit.licences(packages)
    assert (code, len(lines)) == (0, 1), lines


@pytest.mark.parametrize(
    ("licence", "allowed"),
    [
        ("MIT", True),
        ("MIT OR Apache-2.0", True),
        ("GPL-3.0-only OR MIT", True),
        ("Apache-2.0 AND BSD-2-Clause", True),
        ("Apache-2.0 AND GPL-3.0-only", False),
        ("GPL-3.0-only OR Apache-2.0 AND AGPL-3.0-only", False),
        ("AGPL-3.0-only", False),
        ("", False),
    ],
)
def test_other_licences_are_named(packages: list[Package], licence: str, allowed: bool) -> None:
    """Of alternatives one is enough, of several together none may be missing."""
    code, lines = audit.licences([packages[0], replace(packages[1], licence=licence)])
    assert code == (0 if allowed else 1)
    assert (packages[1].name in lines[0]) is not allowed


def test_the_notice_is_up_to_date(packages: list[Package]) -> None:
    """It names every package in its version, with its licence."""
    text = (ROOT / "NOTICE").read_text("utf-8")
    assert text == notice.notice()
    assert all(f"\n{one.name} {one.version}: {one.licence}\n" in text for one in packages)


def test_a_generated_file_that_is_out_of_date_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With what to do; without --check it is written."""
    name = str(tmp_path / "NOTICE")
    assert write_or_check(name, "new", "make notice", ["--check"]) == 1
    assert "run make notice" in capsys.readouterr().err
    assert write_or_check(name, "new", "make notice", []) == 0
    assert write_or_check(name, "new", "make notice", ["--check"]) == 0


def test_the_bill_of_materials_is_complete(packages: list[Package], tmp_path: Path) -> None:
    """Every package with licence, hashes and needs, the same every time."""
    project = read_project(ROOT)
    file = write_sbom(project, packages, tmp_path, 1_700_000_000)
    text = file.read_text("utf-8")
    bom = json.loads(text)
    assert bom["metadata"]["component"]["version"] == project.version == __version__
    assert bom["metadata"]["timestamp"].startswith("2023-11-14T22:13:20")
    by_name = {one["name"]: one for one in bom["components"]}
    assert {name: one["version"] for name, one in by_name.items()} == LOCKED
    for package in packages:
        component = by_name[package.name]
        assert component["licenses"]
        assert {one["content"] for one in component["hashes"]} == set(package.hashes)
        assert component["purl"] == f"pkg:pypi/{package.name}@{package.version}"
    needs = {one["ref"]: set(one.get("dependsOn", ())) for one in bom["dependencies"]}
    assert needs["ff-proxy"] <= set(LOCKED)
    assert len(needs["ff-proxy"]) == len(project.dependencies)
    file.unlink()
    assert write_sbom(project, packages, tmp_path, 1_700_000_000).read_text("utf-8") == text


@pytest.mark.parametrize(
    ("answers", "code", "line"),
    [
        ([[CLEAN]], 0, "none are known in 1 packages, says pypi"),
        ([[UNKNOWN], [CLEAN]], 0, "none are known in 1 packages, says osv"),
        ([["-"], [CLEAN, CLEAN]], 0, "none are known in 2 packages, says osv"),
        ([[CLEAN, BAD]], 1, "c 3: CVE-1, fixed in 3.1, 4"),
        ([[UNKNOWN, BAD]], 1, "c 3: CVE-1"),
        ([["-"], ["-"]], 2, "NOT CHECKED, since no service answers here (pypi: asleep; osv: asleep)"),
        ([[UNKNOWN, CLEAN], ["-"]], 2, "pypi: knows nothing of 1 of 2 packages"),
    ],
)
def test_what_is_known_of_vulnerabilities_is_told(answers: list[list[object]], code: int, line: str) -> None:
    """What nobody could be asked about is not called good."""
    left = iter(answers)

    def ask(_: str) -> str:
        answer = next(left)
        if answer == ["-"]:
            raise audit.UnreachableError("asleep")
        return json.dumps({"dependencies": answer})

    got, said = audit.vulnerabilities(ask)
    assert got == code
    assert line in said[0]


def test_a_service_that_cannot_be_reached_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the tool itself, cut off from the network: no trace."""
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(audit.UnreachableError, match=r"^[a-z.]+ cannot be reached$"):
        audit.ask_pip_audit("osv")
