"""Finding environments."""

import errno
import os
from pathlib import Path

import pytest

from ff_proxy.errors import OfflineDataError
from ff_proxy.offline.layout import Part, find, locate
from ff_proxy.offline.problems import Severity
from tests.support.offline import ENV_ID, FaultyFiles, write_files


def found(root: Path) -> dict[str, str]:
    """Environments and their directories relative to ``root``."""
    return {
        location.environment: location.path.relative_to(root).as_posix() for location in find(root).locations
    }


def test_environments_are_found_at_any_depth(tmp_path: Path) -> None:
    """The id is the name without its leading env-; a name that only contains it is the id as it stands."""
    write_files(tmp_path / "env-one", segments=[])
    write_files(tmp_path / "a" / "b" / "env-two", targets=[])
    write_files(tmp_path / "env-one" / "env-inner", targets=[])
    write_files(tmp_path / "my-env-three", targets=[])
    write_files(tmp_path / "other", targets=[])
    (tmp_path / "env-file").write_text("no directory")
    assert found(tmp_path) == {
        "one": "env-one",
        "two": "a/b/env-two",
        "inner": "env-one/env-inner",
        "my-env-three": "my-env-three",
    }


@pytest.mark.parametrize(
    "name", ["env-one", "my-env-one", "__MACOSX", "@eaDir", "lost+found", ".git", "..data"]
)
def test_a_directory_without_files_claims_nothing(tmp_path: Path, name: str) -> None:
    """Whatever its name: another directory of the same environment is not disputed by it."""
    write_files(tmp_path / "real" / "env-one", segments=[])
    other = tmp_path / name / ("" if "env-" in name else "env-one")
    other.mkdir(parents=True)
    (other / ".DS_Store").write_bytes(b"x")
    (other / "._feature_config.json").write_bytes(b"x")
    assert found(tmp_path) == {"one": "real/env-one"}
    problems = find(tmp_path).problems
    assert [problem.severity for problem in problems] == [Severity.WARNING] * (name == "env-one")


@pytest.mark.parametrize("name", ["__MACOSX", "@eaDir", "lost+found", "#recycle", ".hidden"])
def test_what_systems_add_to_a_volume_is_not_looked_into(tmp_path: Path, name: str) -> None:
    """Even if it holds copies of everything, or cannot be read."""
    write_files(tmp_path / "env-one", segments=[])
    write_files(tmp_path / name / "env-one", segments=[])
    files = FaultyFiles()
    files.fail(tmp_path / name, errno.EACCES)
    finding = find(tmp_path, files)
    assert [location.path.name for location in finding.locations] == ["env-one"]
    assert finding.problems == ()


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.EACCES, "Permission denied"), (errno.EIO, "Input/output error"), (errno.ESTALE, "Stale")],
)
@pytest.mark.parametrize("name", ["env-two", "team"])
def test_a_directory_that_cannot_be_read_is_a_problem(
    tmp_path: Path, name: str, number: int, words: str
) -> None:
    """It may hold an environment; the problem says where and why."""
    write_files(tmp_path / "env-one", segments=[])
    write_files(tmp_path / name, segments=[])
    files = FaultyFiles()
    files.fail(tmp_path / name, number)
    finding = find(tmp_path, files)
    assert [location.environment for location in finding.locations] == ["one"]
    (problem,) = finding.problems
    assert problem.path == str(tmp_path / name)
    assert words in problem.text


def test_a_link_to_nothing_or_to_itself_is_a_problem(tmp_path: Path) -> None:
    """Of an environment it is broken; any other is mentioned."""
    (tmp_path / "env-gone").symlink_to(tmp_path / "nowhere")
    (tmp_path / "env-loop").symlink_to(tmp_path / "env-loop")
    (tmp_path / "notes").symlink_to(tmp_path / "nowhere")
    assert {Path(one.path).name: one.severity for one in find(tmp_path).problems} == {
        "env-gone": Severity.BROKEN,
        "env-loop": Severity.BROKEN,
        "notes": Severity.WARNING,
    }


def test_the_directory_itself_may_be_an_environment(tmp_path: Path) -> None:
    """If it holds files of one; a parent that only sounds like one is left alone."""
    root = write_files(tmp_path / "env-one", segments=[])
    assert found(root) == {"one": "."}
    (tmp_path / "env-parent").mkdir()
    assert found(tmp_path / "env-parent") == {}


def test_hidden_directories_are_left_out(tmp_path: Path) -> None:
    """A mounted ConfigMap: links on top, versions in hidden directories."""
    write_files(tmp_path / "..2024_02_29" / "env-one", segments=[])
    (tmp_path / "..data").symlink_to("..2024_02_29")
    (tmp_path / "env-one").symlink_to("..data/env-one")
    assert found(tmp_path) == {"one": "env-one"}


def test_links_in_a_circle_come_to_an_end(tmp_path: Path) -> None:
    """A link to a directory above is not followed."""
    write_files(tmp_path / "a" / "env-one", segments=[])
    (tmp_path / "a" / "again").symlink_to(tmp_path)
    assert found(tmp_path) == {"one": "a/env-one"}


def test_a_tree_that_is_something_else_is_not_walked_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as a whole machine; environments may be as many as they like."""
    monkeypatch.setattr("ff_proxy.offline.layout._MAX_OTHERS", 20)
    for number in range(30):
        write_files(tmp_path / f"env-{number}", targets=[])
    assert len(find(tmp_path).locations) == 30
    for number in range(20):
        (tmp_path / f"other-{number}").mkdir()
    with pytest.raises(OfflineDataError, match="more than 20 directories in it are no environments"):
        find(tmp_path)


def test_two_directories_of_one_environment_are_a_problem(tmp_path: Path) -> None:
    """Neither is taken, and both are named; a link to the same directory does no harm."""
    write_files(tmp_path / "a" / "env-one", segments=[])
    write_files(tmp_path / "b" / "env-one", segments=[])
    write_files(tmp_path / "env-two", segments=[])
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "env-two").symlink_to(tmp_path / "env-two")

    finding = find(tmp_path)

    assert [location.environment for location in finding.locations] == ["two"]
    assert finding.duplicates == {"one"}
    (problem,) = finding.problems
    assert problem.severity is Severity.BROKEN
    assert str(tmp_path / "a" / "env-one") in str(problem)
    assert str(tmp_path / "b" / "env-one") in str(problem)


@pytest.mark.parametrize(("name", "told"), [("absent", "No such file"), ("file", "Not a directory")])
def test_a_directory_that_is_none_is_refused(tmp_path: Path, name: str, told: str) -> None:
    """The error names it."""
    (tmp_path / "file").write_text("")
    with pytest.raises(OfflineDataError, match=f"{name}: the directory cannot be read: {told}"):
        find(tmp_path / name)


def test_the_signature_tells_a_change(tmp_path: Path) -> None:
    """New content, a new file and a file gone; other files do not matter."""
    directory = write_files(tmp_path / "env-one", segments=[])
    seen = [locate(ENV_ID, directory).signature]
    (directory / "notes.txt").write_text("x")
    assert locate(ENV_ID, directory).signature == seen[0]

    write_files(directory, segments=[{}])
    seen.append(locate(ENV_ID, directory).signature)
    write_files(directory, targets=[])
    seen.append(locate(ENV_ID, directory).signature)
    (directory / "segments.json").unlink()
    seen.append(locate(ENV_ID, directory).signature)
    assert len(set(seen)) == 4
    assert find(tmp_path).locations[0].signature == seen[-1]


def test_the_signature_tells_another_file_of_the_same_size_and_age(tmp_path: Path) -> None:
    """Moved to the place of the old one."""
    directory = write_files(tmp_path / "env-one", segments=[])
    file, other = directory / "segments.json", tmp_path / "other.json"
    other.write_text("{}")
    os.utime(other, ns=(0, 0))
    os.utime(file, ns=(0, 0))
    before = locate(ENV_ID, directory).signature
    while other.stat().st_ctime_ns == file.stat().st_ctime_ns:  # a tick of the system's clock
        os.utime(other, ns=(0, 0))
    other.rename(file)
    assert locate(ENV_ID, directory).signature != before


def test_json_comes_before_yaml(tmp_path: Path) -> None:
    """The order in which files of one part are looked for."""
    for suffix in ("yml", "yaml", "json"):
        (tmp_path / f"segments.{suffix}").write_text("")
    location = locate(ENV_ID, tmp_path)
    assert location.files_of(Part.SEGMENTS) == ["segments.json", "segments.yaml", "segments.yml"]
    assert location.files_of(Part.FLAGS) == []
