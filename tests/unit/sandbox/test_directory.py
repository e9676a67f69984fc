"""The sandbox fed from an offline directory."""

import json
from pathlib import Path

import pytest

from ff_proxy.errors import OfflineDataError
from ff_proxy.model.keys import hash_key
from ff_proxy.sandbox.directory import environments_in
from ff_proxy.sandbox.state import SandboxState

FLAG = {
    "feature": "f",
    "environment": "dev",
    "project": "shop",
    "kind": "boolean",
    "state": "on",
    "variations": [{"identifier": "true", "value": "true"}, {"identifier": "false", "value": "false"}],
    "defaultServe": {"variation": "true"},
    "offVariation": "false",
    "version": 7,
}
FIXTURES = Path(__file__).parents[3].parent / "shared" / "fixtures"


def write(root: Path, environment: str, **files: object) -> None:
    """An environment's directory."""
    directory = root / f"env-{environment}"
    directory.mkdir()
    for name, content in files.items():
        (directory / f"{name}.json").write_text(json.dumps(content))


def test_an_environment_is_served_as_it_stands_there(tmp_path: Path) -> None:
    """Documents with their versions, targets, and the keys that are known by their hashes only."""
    write(
        tmp_path,
        "id-1",
        feature_config=[FLAG],
        segments=[{"identifier": "s", "version": 3}],
        targets=[{"identifier": "ann", "attributes": {"plan": "pro"}}],
        auth_config=[hash_key("some-key")],
    )
    (environment,) = environments_in(tmp_path)
    assert environment.info.id == "id-1"
    assert (environment.info.identifier, environment.info.project_identifier) == ("dev", "shop")
    assert environment.flags["f"]["version"] == 7
    assert environment.segments["s"]["version"] == 3
    assert environment.targets["ann"]["name"] == "ann"
    assert environment.targets["ann"]["attributes"] == {"plan": "pro"}
    state = SandboxState([environment])
    assert state.authenticate("some-key")
    assert not state.authenticate("another-key")


def test_there_is_a_key_to_copy(tmp_path: Path) -> None:
    """Nobody could type one otherwise."""
    write(tmp_path, "id-1", feature_config=[FLAG])
    state = SandboxState(environments_in(tmp_path))
    assert state.authenticate("sandbox-dev-server-key")


def test_environments_that_do_not_say_who_they_are_can_be_told_apart(tmp_path: Path) -> None:
    """The admin API asks by names, which come from the flags."""
    write(tmp_path, "id-1", feature_config=[FLAG])
    write(tmp_path, "id-2", feature_config=[FLAG])
    write(tmp_path, "id-3", feature_config=[])
    environments = environments_in(tmp_path)
    assert sorted(one.info.identifier for one in environments) == ["dev", "id-2", "id-3"]
    assert all(one.info.project_identifier and one.info.organization_identifier for one in environments)
    assert len({one.info.account for one in environments}) == 1


def test_a_broken_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    """A sandbox without one of its environments would mislead."""
    write(tmp_path, "id-1", feature_config=[FLAG])
    (tmp_path / "env-id-1" / "segments.json").write_text("[{")
    with pytest.raises(OfflineDataError, match=r"segments\.json"):
        environments_in(tmp_path)


def test_what_the_proxy_reads_is_read(tmp_path: Path) -> None:
    """A byte order mark, more after the first value, half a surrogate pair: also answered to an SDK."""
    write(tmp_path, "id-1", feature_config=[{**FLAG, "name": "a\ud800b\U0001f600"}])
    path = tmp_path / "env-id-1" / "feature_config.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes() + b" []")
    (tmp_path / "env-id-1" / "segments.yaml").write_text("[]\n---\n[]\n")
    (environment,) = environments_in(tmp_path)
    assert environment.flags["f"]["name"] == "a\ufffdb\U0001f600"


@pytest.mark.parametrize("name", ["segments.json", "segments.yaml"])
def test_nesting_without_end_is_an_error_that_names_the_file(tmp_path: Path, name: str) -> None:
    """Not the end of the process."""
    write(tmp_path, "id-1", feature_config=[FLAG])
    (tmp_path / "env-id-1" / name).write_text("[" * 20_000)
    with pytest.raises(OfflineDataError, match=name.replace(".", r"\.")):
        environments_in(tmp_path)


def test_a_directory_without_environments_is_an_error(tmp_path: Path) -> None:
    """It is most likely the wrong one."""
    with pytest.raises(OfflineDataError, match="env-"):
        environments_in(tmp_path)


def test_keys_may_be_written_as_they_are(tmp_path: Path) -> None:
    """On a laptop: keys: [dev-key]."""
    write(tmp_path, "id-1", feature_config=[FLAG])
    (tmp_path / "env-id-1" / "auth_config.yaml").write_text("keys: [dev-key, 007]")
    state = SandboxState(environments_in(tmp_path))
    assert state.authenticate("dev-key")
    assert state.authenticate("007")
    (tmp_path / "env-id-1" / "auth_config.yaml").write_text("key: dev-key")
    with pytest.raises(OfflineDataError, match="keys:"):
        environments_in(tmp_path)


def test_what_is_nothing_is_left_out(tmp_path: Path) -> None:
    """Whether the proxy takes the rest is the proxy's business."""
    write(tmp_path, "id-1", feature_config=[FLAG, {"feature": ""}, 7])
    (environment,) = environments_in(tmp_path)
    assert list(environment.flags) == ["f"]


def test_yaml_says_the_same(tmp_path: Path) -> None:
    """Texts stay texts, also where YAML knows better; what users hang on targets stays what it is."""
    directory = tmp_path / "env-id-1"
    directory.mkdir()
    (directory / "feature_config.yaml").write_text(
        "- {feature: f, state: on, kind: boolean, version: 3, offVariation: off,\n"
        "   variations: [{identifier: on, value: true}, {identifier: off, value: false}]}\n"
    )
    (directory / "targets.yaml").write_text("- {identifier: 1234, attributes: {age: 7}}\n- bob\n")
    (directory / "segments.yaml").write_text("- {identifier: s, included: [ann]}\n")
    (environment,) = environments_in(tmp_path)
    flag = environment.flags["f"]
    assert (flag["state"], flag["version"], flag["variations"][0]["value"]) == ("on", 3, "true")
    assert environment.targets["1234"]["attributes"] == {"age": 7}
    assert environment.targets["bob"]["name"] == "bob"
    assert environment.segments["s"]["included"][0]["identifier"] == "ann"


@pytest.mark.skipif(not FIXTURES.is_dir(), reason="the directories that the Go proxy wrote are not here")
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_directories_of_the_go_proxy_are_served(version: str) -> None:
    """As it wrote them."""
    roots = {path.parent for path in (FIXTURES / version).rglob("env-*")}
    assert roots
    for root in roots:
        environments = environments_in(root)
        assert environments
