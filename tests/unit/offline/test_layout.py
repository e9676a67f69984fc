"""Finding environments."""

from pathlib import Path

import pytest

from ff_proxy.errors import OfflineDataError
from ff_proxy.offline.layout import Part, files_of, find, signature_of
from ff_proxy.offline.problems import Severity
from tests.support.offline import write_files


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


def test_an_empty_directory_counts_only_if_its_name_is_plain(tmp_path: Path) -> None:
    """Every file is optional, but a name that merely contains env- needs one to be meant."""
    (tmp_path / "env-empty").mkdir()
    (tmp_path / "old-env-backup").mkdir()
    assert found(tmp_path) == {"empty": "env-empty"}


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


def test_two_directories_of_one_environment_are_a_problem(tmp_path: Path) -> None:
    """Neither is taken, and both are named; a link to the same directory does no harm."""
    write_files(tmp_path / "a" / "env-one", segments=[])
    write_files(tmp_path / "b" / "env-one", segments=[])
    write_files(tmp_path / "env-two", segments=[])
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "env-two").symlink_to(tmp_path / "env-two")

    finding = find(tmp_path)

    assert [location.environment for location in finding.locations] == ["two"]
    assert finding.disputed == {"one"}
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
    seen = [signature_of(directory)]
    (directory / "notes.txt").write_text("x")
    assert signature_of(directory) == seen[0]

    write_files(directory, segments=[{}])
    seen.append(signature_of(directory))
    write_files(directory, targets=[])
    seen.append(signature_of(directory))
    (directory / "segments.json").unlink()
    seen.append(signature_of(directory))
    assert len(set(seen)) == 4
    assert find(tmp_path).locations[0].signature == seen[-1]
    assert signature_of(tmp_path / "gone") == ()


def test_json_comes_before_yaml(tmp_path: Path) -> None:
    """The order in which files of one part are looked for."""
    for suffix in ("yml", "yaml", "json"):
        (tmp_path / f"segments.{suffix}").write_text("")
    assert [path.suffix for path in files_of(tmp_path, Part.SEGMENTS)] == [".json", ".yaml", ".yml"]
    assert files_of(tmp_path, Part.FLAGS) == []
