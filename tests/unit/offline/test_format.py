"""An environment's files as records, and records as files."""

import json
from pathlib import Path

import pytest

from ff_proxy.model.environment import EnvironmentConfig, EnvironmentInfo
from ff_proxy.model.keys import EnvironmentId, hash_key
from ff_proxy.model.target import Target
from ff_proxy.offline.format import OfflineEnvironment, Reading, encode_environment, read_environment
from ff_proxy.offline.layout import find
from ff_proxy.offline.problems import Severity
from tests.support.offline import ENV, ENV_ID, bakery, flag_doc, write_files

PAPERS = Path(__file__).parents[3].parent / "shared" / "fixtures"
# key, what holds it: told by whoever made the directories.
KNOWN: dict[EnvironmentId, tuple[str, set[str], set[str], set[str]]] = {
    EnvironmentId("1234"): (
        "apikey1",
        {"harnessappdemodarkmode", "yet_another_flag"},
        {"flagsTeam"},
        {"foo", "james"},
    ),
    EnvironmentId("09b78b2b-b9d6-4790-ba28-9875082dba0d"): (
        "57247423-4a3e-4077-a706-3ba52aa680b2",
        {"bool-flag1", "string-flag1"},
        {"group"},
        {"default"},
    ),
    EnvironmentId("b69f0685-b2d0-4b0c-9a8e-5005652d65b8"): (
        "34ad7622-8392-4dca-8150-e325cbafb5cb",
        set(),
        set(),
        set(),
    ),
}


def read_one(root: Path) -> Reading:
    """The only environment below ``root``."""
    (location,) = find(root).locations
    return read_environment(location)


def loaded(reading: Reading) -> OfflineEnvironment:
    """The environment of a reading that went well."""
    assert reading.problems == ()
    assert reading.environment is not None
    return reading.environment


def told(reading: Reading, root: Path) -> list[str]:
    """The problems of a reading, with paths relative to the environment's directory."""
    return [str(problem).replace(f"{root}/env-{ENV}/", "") for problem in reading.problems]


def test_a_whole_environment_is_read(tmp_path: Path) -> None:
    """Flags, target groups, targets, keys, and what they say of the environment."""
    bakery(tmp_path)
    environment = loaded(read_one(tmp_path))
    config = environment.config
    assert config.info == EnvironmentInfo(
        ENV_ID,
        identifier="kitchen",
        project_identifier="bakery",
        organization_identifier="guild",
        account="acme",
    )
    assert set(config.flags) == {"glaze", "yeast"}
    assert config.flags["glaze"].version == 3
    assert json.loads(config.flags["glaze"].wire)["futureField"] == {"kept": True}
    assert set(config.segments) == {"night-shift"}
    assert config.keys == {hash_key("key-one"), hash_key("key-two")}
    assert environment.targets == (
        Target("ada", "Ada", {"shift": "night", "loaves": 12, "tags": ["a", None]}),
        Target("guest", "guest", {}, anonymous=True),
    )


def test_every_file_is_optional_and_null_is_empty(tmp_path: Path) -> None:
    """As the Go proxy has it."""
    write_files(tmp_path / f"env-{ENV}", targets=None, segments=None)
    environment = loaded(read_one(tmp_path))
    assert environment == OfflineEnvironment(
        EnvironmentConfig(EnvironmentInfo(ENV_ID), {}, {}, frozenset()), ()
    )


def test_yaml_is_read_and_json_wins(tmp_path: Path) -> None:
    """Flags in YAML need no quotes around true and on."""
    directory = write_files(tmp_path / f"env-{ENV}", targets=[])
    (directory / "targets.yaml").write_text("- identifier: ignored")
    (directory / "feature_config.yml").write_text(
        """
        - feature: glaze
          state: on
          kind: boolean
          variations:
            - {identifier: true, value: true}
            - {identifier: false, value: false}
          defaultServe: {variation: true}
          offVariation: false
        """
    )
    reading = read_one(tmp_path)
    assert told(reading, tmp_path) == ["targets.yaml: it is ignored, because there is targets.json"]
    assert reading.environment is not None
    flag = json.loads(reading.environment.config.flags["glaze"].wire)
    assert (flag["state"], flag["offVariation"], flag["variations"][0]) == (
        "on",
        "false",
        {"identifier": "true", "value": "true"},
    )
    assert reading.environment.targets == ()


def test_an_entry_that_cannot_be_used_costs_only_itself(tmp_path: Path) -> None:
    """Each is told with its index, and with its name if it has one."""
    write_files(
        tmp_path / f"env-{ENV}",
        feature_config=[flag_doc("glaze"), 7, flag_doc("broken", variations=[]), {}],
        segments=[{"identifier": "ok"}, None],
        targets=[{"name": "nobody"}, {"identifier": "ok"}],
        auth_config=["plain-key", hash_key("x").upper(), f"auth-key-{hash_key('y')}", 7],
    )
    reading = read_one(tmp_path)
    assert {problem.severity for problem in reading.problems} == {Severity.ERROR}
    assert told(reading, tmp_path) == [
        "feature_config.json: line 1: [1]: a flag must be an object",
        "feature_config.json: line 1: [2] broken: a flag needs at least one variation with an identifier",
        "feature_config.json: line 1: [3]: a flag needs a 'feature' that names it",
        "segments.json: line 1: [1]: a segment must be an object",
        "targets.json: line 1: [0]: a target must be an object with an 'identifier'",
        "auth_config.json: line 1: [0]: it is not a SHA-256 hash in hexadecimal digits",
        "auth_config.json: line 1: [3]: it is not a SHA-256 hash in hexadecimal digits",
    ]
    assert reading.environment is not None
    config = reading.environment.config
    assert (set(config.flags), set(config.segments)) == ({"glaze"}, {"ok"})
    assert config.keys == {hash_key("x"), hash_key("y")}
    assert [target.identifier for target in reading.environment.targets] == ["ok"]


def test_an_entry_that_is_nested_absurdly_costs_only_itself(tmp_path: Path) -> None:
    """Whatever depth the parser lets through."""
    text = json.dumps([flag_doc("glaze"), flag_doc("deep", x="HERE")])
    text = text.replace('"HERE"', "[" * 900 + "]" * 900)
    write_files(tmp_path / f"env-{ENV}")
    (tmp_path / f"env-{ENV}" / "feature_config.json").write_text(text)
    reading = read_one(tmp_path)
    assert reading.environment is not None
    assert "glaze" in reading.environment.config.flags
    assert all("nested too deeply" in line for line in told(reading, tmp_path))


def test_a_name_that_is_there_twice_is_told(tmp_path: Path) -> None:
    """The last one is used."""
    write_files(
        tmp_path / f"env-{ENV}", feature_config=[flag_doc("glaze", version=1), flag_doc("glaze", version=2)]
    )
    reading = read_one(tmp_path)
    assert told(reading, tmp_path) == [
        "feature_config.json: line 1: [1] glaze: it is a duplicate of [0]; the last one is used"
    ]
    assert reading.environment is not None
    assert reading.environment.config.flags["glaze"].version == 2


@pytest.mark.parametrize("content", ["{", "{}", "7", '"x"'])
def test_a_broken_file_breaks_its_environment(tmp_path: Path, content: str) -> None:
    """There is no environment then, and every broken file is told."""
    directory = bakery(tmp_path)
    (directory / "segments.json").write_text(content)
    (directory / "targets.json").write_text(content)
    reading = read_one(tmp_path)
    assert reading.environment is None
    assert [problem.severity for problem in reading.problems] == [Severity.BROKEN] * 2
    assert told(reading, tmp_path)[0].startswith("segments.json: ")


def test_what_was_read_and_written_reads_back_equal(tmp_path: Path) -> None:
    """Round trip."""
    bakery(tmp_path / "a")
    first = loaded(read_one(tmp_path / "a"))
    directory = tmp_path / "b" / f"env-{ENV}"
    directory.mkdir(parents=True)
    for name, data in encode_environment(first, 0).items():
        (directory / name).write_bytes(data)
    assert loaded(read_one(tmp_path / "b")) == first


def test_what_is_written_has_the_go_proxys_shape(tmp_path: Path) -> None:
    """Lists under the four names; hashes without prefix; segments with rules; targets with every field."""
    bakery(tmp_path)
    files = encode_environment(loaded(read_one(tmp_path)), 1_700_000_000)
    assert set(files) == {
        "auth_config.json",
        "feature_config.json",
        "segments.json",
        "targets.json",
        "README.md",
    }
    assert json.loads(files["auth_config.json"]) == sorted([hash_key("key-one"), hash_key("key-two")])
    assert [flag["feature"] for flag in json.loads(files["feature_config.json"])] == ["glaze", "yeast"]
    (segment,) = json.loads(files["segments.json"])
    assert segment["rules"][0]["attribute"] == "shift"
    assert json.loads(files["targets.json"])[1] == {
        "account": "acme",
        "anonymous": True,
        "attributes": {},
        "environment": "kitchen",
        "identifier": "guest",
        "name": "guest",
        "org": "guild",
        "project": "bakery",
        "segments": [],
    }
    readme = files["README.md"].decode()
    for fact in (
        ENV,
        "kitchen",
        "bakery",
        "Flags: 2",
        "Targets: 2",
        "keys (hashed): 2",
        "2023-11-14 22:13:20 UTC",
    ):
        assert fact in readme


def test_an_empty_environment_is_written_as_empty_lists(tmp_path: Path) -> None:
    """Never null."""
    write_files(tmp_path / f"env-{ENV}", targets=None)
    files = encode_environment(loaded(read_one(tmp_path)), 0)
    assert {name: json.loads(data) for name, data in files.items() if name.endswith(".json")} == {
        "auth_config.json": [],
        "feature_config.json": [],
        "segments.json": [],
        "targets.json": [],
    }


@pytest.mark.skipif(not PAPERS.is_dir(), reason="the directories that the Go proxy wrote are not here")
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_what_the_go_proxy_wrote_is_read(version: str) -> None:
    """Every directory, without a single problem, and with the content it is known to have."""
    finding = find(PAPERS / version)
    assert finding.problems == ()
    environments = {
        location.environment: loaded(read_environment(location)) for location in finding.locations
    }
    assert len(environments) == {"v1": 3, "v2": 4}[version]
    for environment, (key, flags, segments, targets) in KNOWN.items():
        config = environments[environment].config
        assert hash_key(key) in config.keys
        assert (set(config.flags), set(config.segments)) == (flags, segments)
        assert {target.identifier for target in environments[environment].targets} == targets


@pytest.mark.skipif(not PAPERS.is_dir(), reason="the directories that the Go proxy wrote are not here")
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_what_the_go_proxy_wrote_survives_a_round_trip(version: str, tmp_path: Path) -> None:
    """Read, written and read again it is the same."""
    for location in find(PAPERS / version).locations:
        environment = loaded(read_environment(location))
        directory = tmp_path / f"env-{location.environment}"
        directory.mkdir()
        for name, data in encode_environment(environment, 0).items():
            (directory / name).write_bytes(data)
        (copy,) = (one for one in find(tmp_path).locations if one.environment == location.environment)
        assert loaded(read_environment(copy)) == environment


def test_the_example_of_the_documentation_works(tmp_path: Path) -> None:
    """As it stands in docs/offline.md: every file of it, and the key that it names."""
    page = (Path(__file__).parents[3] / "docs" / "offline.md").read_text()
    for block in page.split("```yaml\n")[1:]:
        example = block.split("```")[0]
        file = tmp_path / example.splitlines()[0].removeprefix("# config/")
        file.parent.mkdir(exist_ok=True)
        file.write_text(example)
    reading = read_one(tmp_path)
    assert ["in plain" in problem.text for problem in reading.problems] == [True]
    assert reading.environment is not None
    config = reading.environment.config
    assert config.keys == {hash_key("dev-key")}
    flag = json.loads(config.flags["dark_mode"].wire)
    assert (flag["kind"], flag["state"], flag["offVariation"]) == ("boolean", "on", "false")
    assert [variation["value"] for variation in flag["variations"]] == ["true", "false"]
    assert flag["defaultServe"] == {"variation": "true"}


@pytest.mark.parametrize("suffix", ["json", "yaml"])
def test_problems_are_told_with_their_line(tmp_path: Path, suffix: str) -> None:
    """Of the field, as far as it can be found."""
    text = """[
  {"identifier": "a"},
  {
    "identifier": "b",
    "included": [
      {"identifier": "x"},
      {"identifer": "y"}
    ],
    "rules": [{"attribute": "age", "op": "in",
               "values": [
                 {}
               ]}]
  }
]"""
    misspelt = "there is no such field; did you mean 'identifier'?"
    directory = write_files(tmp_path / f"env-{ENV}")
    (directory / f"segments.{suffix}").write_text(text)
    assert told(read_one(tmp_path), tmp_path) == [
        f"segments.{suffix}: line 7: [1] b: included[1].identifer: {misspelt}",
        f"segments.{suffix}: line 7: [1] b: included[1]: a target needs 'identifier'",
        f"segments.{suffix}: line 11: [1] b: rules[0].values[0]: it must be a text, not an object",
    ]


@pytest.mark.parametrize("suffix", ["json", "yaml"])
def test_a_name_that_an_object_has_twice_is_told(tmp_path: Path, suffix: str) -> None:
    """The last one is used, as JSON has it."""
    directory = write_files(tmp_path / f"env-{ENV}")
    (directory / f"targets.{suffix}").write_text('[{"identifier": "a",\n"name": "b", "name": "c"}]')
    reading = read_one(tmp_path)
    assert ["'name' appears more than once" in problem.text for problem in reading.problems] == [True]
    assert reading.environment is not None
    assert reading.environment.targets[0].name == "c"


def test_references_that_multiply_are_refused(tmp_path: Path) -> None:
    """YAML can be far larger than it looks."""
    levels = "".join(f"- &l{n} [{', '.join([f'*l{n - 1}'] * 20)}]\n" for n in range(1, 12))
    directory = write_files(tmp_path / f"env-{ENV}")
    (directory / "targets.yaml").write_text(f"- &l0 [x]\n{levels}")
    (problem,) = read_one(tmp_path).problems
    assert "too large" in problem.text
