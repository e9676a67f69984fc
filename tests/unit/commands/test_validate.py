"""``ff-proxy validate`` names every problem with file and place."""

import io
import json
from pathlib import Path

import pytest

from ff_proxy.commands.validate import run
from ff_proxy.errors import ConfigError, ExitCode, OfflineDataError

FLAG = {
    "feature": "checkout",
    "kind": "boolean",
    "state": "on",
    "variations": [{"identifier": "yes", "value": "true"}, {"identifier": "no", "value": "false"}],
    "defaultServe": {"variation": "no"},
    "offVariation": "no",
    "version": 1,
}


def write(root: Path, name: str, content: str) -> Path:
    """A file of environment e1."""
    place = root / "env-e1"
    place.mkdir(exist_ok=True)
    (place / name).write_text(content)
    return place / name


def validated(root: Path) -> tuple[ExitCode | None, str]:
    """Exit code and words."""
    out = io.StringIO()
    return run([str(root)], {}, out), out.getvalue()


def test_a_good_directory_is_counted(tmp_path: Path) -> None:
    """Exit 0, and what is in it."""
    write(tmp_path, "feature_config.json", json.dumps([FLAG]))
    code, said = validated(tmp_path)
    assert code is ExitCode.OK
    assert "e1: 1 flags, 0 segments, 0 targets, 0 keys" in said
    assert "1 environments, 0 errors" in said


def test_a_broken_file_is_named_with_its_place(tmp_path: Path) -> None:
    """Exit 2."""
    file = write(tmp_path, "feature_config.json", '[\n  {"feature": }\n]')
    code, said = validated(tmp_path)
    assert code is ExitCode.BAD_CONFIGURATION
    assert f"broken: {file}: line 2" in said


def test_an_unusable_flag_is_an_error(tmp_path: Path) -> None:
    """The proxy would serve without it, and so say nothing to SDKs: here it counts."""
    write(tmp_path, "feature_config.json", json.dumps([FLAG, {"feature": ""}]))
    code, said = validated(tmp_path)
    assert code is ExitCode.BAD_CONFIGURATION
    assert "error: " in said
    assert "[1]" in said


def test_a_directory_without_environments_is_not_one(tmp_path: Path) -> None:
    """Somebody mounted the wrong volume."""
    code, said = validated(tmp_path)
    assert code is ExitCode.BAD_CONFIGURATION
    assert "no directory env-" in said


def test_an_environment_in_two_places_is_the_only_problem_named(tmp_path: Path) -> None:
    """Its directories are there, though neither of them counts."""
    write(tmp_path, "feature_config.json", json.dumps([FLAG]))
    (tmp_path / "copy").mkdir()
    write(tmp_path / "copy", "feature_config.json", json.dumps([FLAG]))
    code, said = validated(tmp_path)
    assert code is ExitCode.BAD_CONFIGURATION
    assert "'e1' is also in" in said
    assert "no directory env-" not in said


def test_a_missing_directory_and_a_missing_word(tmp_path: Path) -> None:
    """Each with a sentence."""
    with pytest.raises(OfflineDataError, match="cannot be read"):
        validated(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="name the directory"):
        run([], {}, io.StringIO())
