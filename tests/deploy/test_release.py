"""A release is tried without a trace, and published as one commit, one tag, and files that can be checked."""

import json
import subprocess
import tomllib
from pathlib import Path

import pytest

from ff_proxy import __version__
from scripts.release import ReleaseError, release
from tests.support.checkout import committed_copy, git

VERSION = "9.8.7"
FILES = [
    f"ff_proxy-{VERSION}-py3-none-any.whl",
    f"ff_proxy-{VERSION}.tar.gz",
    f"ff-proxy-{VERSION}.cdx.json",
    "SHA256SUMS",
]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This checkout, committed."""
    return committed_copy(tmp_path_factory.mktemp("original"))


@pytest.fixture
def repository(original: Path, tmp_path: Path) -> Path:
    """A clone of it that the test may change."""
    clone = tmp_path / "repository"
    git(original, "clone", "--quiet", ".", str(clone))
    for name in ("user.name", "user.email"):
        git(clone, "config", name, git(original, "config", name))
    return clone


def state(repository: Path) -> str:
    """Everything that a release may change."""
    return git(repository, "show-ref", "--head") + git(repository, "status", "--porcelain")


def test_a_try_makes_everything_and_changes_nothing(repository: Path, tmp_path: Path) -> None:
    """The files are those of a release."""
    before = state(repository)
    files = release(VERSION, repository, tmp_path / "out", publish=False)
    assert state(repository) == before
    check(files, tmp_path / "out")


def check(files: list[Path], directory: Path) -> None:
    """All there, with checksums that are right, and a bill of materials of that version."""
    assert [file.name for file in files] == FILES
    done = subprocess.run(
        ["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=directory, capture_output=True, check=False
    )
    assert done.returncode == 0, done
    assert done.stdout.count(b"OK") == len(FILES) - 1
    bom = json.loads((directory / FILES[2]).read_text("utf-8"))
    assert bom["metadata"]["component"]["version"] == VERSION


def test_publishing_leaves_a_commit_a_tag_and_the_files(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Version and date stand wherever they belong; the next one cannot have the same."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    before = git(repository, "rev-parse", "HEAD")
    old_changes = (repository / "CHANGELOG.md").read_text("utf-8").partition("## [Unreleased]\n")[2]
    check(release(VERSION, repository, tmp_path / "out", publish=True), tmp_path / "out")
    assert git(repository, "rev-parse", "HEAD^", f"v{VERSION}^{{commit}}^").split() == [before, before]
    assert git(repository, "cat-file", "-t", f"v{VERSION}") == "tag"
    assert not git(repository, "status", "--porcelain")
    assert git(repository, "log", "-1", "--format=%s") == f"Release {VERSION}"
    assert tomllib.loads((repository / "pyproject.toml").read_text("utf-8"))["project"]["version"] == VERSION
    assert f'__version__ = "{VERSION}"' in (repository / "src/ff_proxy/__init__.py").read_text("utf-8")
    changes = (repository / "CHANGELOG.md").read_text("utf-8")
    assert f"## [Unreleased]\n\n## [{VERSION}] - 2023-11-14\n{old_changes}" in changes
    chart = (repository / "deploy/helm/ff-proxy/Chart.yaml").read_text("utf-8")
    assert f"\nversion: {VERSION}\n" in chart
    assert f'appVersion: "{VERSION}"' in chart
    assert __version__ not in (repository / "deploy/kubernetes/ff-proxy.yaml").read_text("utf-8")
    with pytest.raises(ReleaseError, match="released already"):
        release(VERSION, repository, tmp_path / "again", publish=False)
    with pytest.raises(ReleaseError, match="nothing under Unreleased"):
        release("10.0.0", repository, tmp_path / "again", publish=False)


@pytest.mark.parametrize(
    ("version", "why"),
    [
        ("1.2", "three numbers"),
        ("v1.2.3", "three numbers"),
        ("1.2.3rc1", "three numbers"),
        ("0.0.1", f"older than {__version__}"),
    ],
)
def test_what_is_no_next_version_is_refused(original: Path, tmp_path: Path, version: str, why: str) -> None:
    """Before anything is made."""
    with pytest.raises(ReleaseError, match=why):
        release(version, original, tmp_path / "out", publish=True)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "why"),
    [("README.md", "not committed"), ("NOTICE", "NOTICE is out of date")],
    ids=["dirty", "notice"],
)
def test_what_is_not_ready_is_refused(repository: Path, tmp_path: Path, name: str, why: str) -> None:
    """A change that nobody committed, a notice that is not of the lock."""
    (repository / name).write_text("Changed.\n")
    if name == "NOTICE":
        git(repository, "commit", "--quiet", "--all", "--message", "Break it")
    with pytest.raises(ReleaseError, match=why):
        release(VERSION, repository, tmp_path / "out", publish=True)
