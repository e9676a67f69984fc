"""``ff-proxy explain`` says every step and ends in the outcome."""

import io
import json
from pathlib import Path

import pytest

from ff_proxy.commands.explain import explain
from ff_proxy.errors import ConfigError, ExitCode

ENVIRONMENT = "8f0f3f3e-0000-4000-8000-000000000001"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """One environment with a flag that has a rule, and one target."""
    place = tmp_path / f"env-{ENVIRONMENT}"
    place.mkdir()
    flag = {
        "feature": "checkout",
        "kind": "boolean",
        "state": "on",
        "variations": [{"identifier": "yes", "value": "true"}, {"identifier": "no", "value": "false"}],
        "defaultServe": {"variation": "no"},
        "offVariation": "no",
        "rules": [
            {
                "priority": 1,
                "clauses": [{"attribute": "plan", "op": "equal", "values": ["gold"]}],
                "serve": {"variation": "yes"},
            }
        ],
        "version": 1,
    }
    (place / "feature_config.json").write_text(json.dumps([flag]))
    (place / "targets.json").write_text(
        json.dumps([{"identifier": "ana", "name": "Ana", "attributes": {"plan": "gold"}}])
    )
    return tmp_path


def explained(directory: Path, *more: str) -> str:
    """What the command prints."""
    out = io.StringIO()
    assert explain(["-config-dir", str(directory), "-flag", "checkout", *more], {}, out) is ExitCode.OK
    return out.getvalue()


def test_a_known_target_brings_its_attributes(directory: Path) -> None:
    """The rule that matched is marked, the outcome last."""
    said = explained(directory, "-target", "ana")
    assert "+ rule 1" in said
    assert said.rstrip().endswith("=> checkout: yes = 'true' (rule)")


def test_attributes_can_be_given(directory: Path) -> None:
    """In place of those known, and for targets that nobody knows."""
    assert "=> checkout: no" in explained(directory, "-target", "ana", "-attributes", '{"plan": "free"}')
    assert "=> checkout: yes" in explained(directory, "-target", "bo", "-attributes", '{"plan": "GOLD"}')
    assert "=> checkout: no" in explained(directory, "-target", "bo", "-environment", ENVIRONMENT)


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["-target", "ana", "-environment", "other"], "environment: must be one of"),
        (["-target", "ana", "-attributes", "{"], "attributes: not JSON"),
        (["-target", "ana", "-attributes", "[" * 50_000], "attributes: not JSON"),
        (["-target", "ana", "-attributes", "[]"], "attributes: must be a JSON object"),
        ([], "target: required"),
    ],
)
def test_what_is_not_there_is_named(directory: Path, words: list[str], problem: str) -> None:
    """Exit 2 with a sentence."""
    with pytest.raises(ConfigError, match=problem):
        explained(directory, *words)


def test_a_misspelt_flag_gets_a_suggestion(directory: Path) -> None:
    """The nearest name there is."""
    with pytest.raises(ConfigError, match=r"no flag 'chekout'.*checkout"):
        explain(["-config-dir", str(directory), "-flag", "chekout", "-target", "ana"], {}, io.StringIO())
