"""The built-in environments: every kind of flag and rule, readable by every SDK."""

import uuid
from typing import Any

import msgspec
import pytest

from ff_proxy.evaluation import compile_engine
from ff_proxy.model.environment import Item
from ff_proxy.model.evaluation import Evaluation, Reason
from ff_proxy.model.target import Target
from ff_proxy.sandbox.environment import Environment
from ff_proxy.sandbox.seed import default_environments
from ff_proxy.wire.config import read_target
from ff_proxy.wire.normalise import normalise_flag, normalise_segment
from tests.support.engines import flag_record, segment_record

ENVIRONMENTS = default_environments()
FLAGS = [flag for environment in ENVIRONMENTS for flag in environment.flags.values()]
SEGMENTS = [segment for environment in ENVIRONMENTS for segment in environment.segments.values()]


def values_of(field: str, documents: object) -> set[Any]:
    """Every text that stands under ``field`` anywhere in ``documents``."""
    found: set[Any] = set()
    if isinstance(documents, dict):
        found |= {value for name, value in documents.items() if name == field and isinstance(value, str)}
        documents = list(documents.values())
    if isinstance(documents, list):
        for part in documents:
            found |= values_of(field, part)
    return found


def test_identities_differ_and_ids_are_uuids() -> None:
    """The Node SDK looks at the length of an environment's id (spec/sdk-wire#trap-30)."""
    assert [str(uuid.UUID(one.info.id)) for one in ENVIRONMENTS] == [one.info.id for one in ENVIRONMENTS]
    texts = [key.text for one in ENVIRONMENTS for key in one.keys]
    assert len(set(texts)) == len(texts) == 6
    assert {one.info.cluster for one in ENVIRONMENTS} == {"1", "2"}


def test_every_kind_of_flag_is_there() -> None:
    """So that a developer finds an example of what they need."""
    assert {flag["kind"] for flag in FLAGS} == {"boolean", "string", "int", "json"}
    assert {flag["state"] for flag in FLAGS} == {"on", "off"}


def test_every_operator_is_there() -> None:
    """In a flag's rule or a group's."""
    operators = values_of("op", [*FLAGS, *SEGMENTS])
    assert sorted(operators) == sorted(
        [
            "equal",
            "equal_sensitive",
            "starts_with",
            "ends_with",
            "contains",
            "in",
            "gt",
            "match",
            "segmentMatch",
        ]
    )


@pytest.mark.parametrize("part", ["prerequisites", "variationToTargetMap", "rules"])
def test_every_way_to_decide_is_there(part: str) -> None:
    """Prerequisites, direct assignments, rules."""
    assert any(flag[part] for flag in FLAGS)


def test_rollouts_are_whole() -> None:
    """Their weights add up to a hundred, by default and in rules."""
    rollouts = [flag["defaultServe"].get("distribution") for flag in FLAGS]
    rollouts += [rule["serve"].get("distribution") for flag in FLAGS for rule in flag["rules"]]
    totals = [sum(share["weight"] for share in rollout["variations"]) for rollout in rollouts if rollout]
    assert len(totals) >= 4
    assert set(totals) == {100}


@pytest.mark.parametrize("document", FLAGS, ids=lambda flag: f"{flag['environment']}-{flag['feature']}")
def test_flags_need_no_repair(document: dict[str, Any]) -> None:
    """They are what SaaS sends, so that the product's normalisation has nothing to do."""
    item = normalise_flag(document)
    assert isinstance(item, Item)
    assert flag_record(document) == flag_record(normalised(item))


@pytest.mark.parametrize("document", SEGMENTS, ids=lambda one: f"{one['environment']}-{one['identifier']}")
def test_segments_carry_both_forms_of_rules(document: dict[str, Any]) -> None:
    """Old SDKs know the one, new ones the other."""
    item = normalise_segment(document)
    assert isinstance(item, Item)
    assert segment_record(document) == segment_record(normalised(item))
    assert bool(document["rules"]) == bool(document["servingRules"])


@pytest.mark.parametrize("environment", ENVIRONMENTS, ids=lambda one: one.info.identifier)
def test_every_flag_yields_a_variation_for_every_target(environment: Environment) -> None:
    """Nothing in the seed refers to what does not exist."""
    engine = compile_engine(
        {name: flag_record(flag) for name, flag in environment.flags.items()},
        {name: segment_record(segment) for name, segment in environment.segments.items()},
    )
    targets = [read_target(document) for document in environment.targets.values()]
    results = [result for target in [*targets, Target("x")] for result in engine.evaluate_all(target)]
    assert all(isinstance(result, Evaluation) for result in results)
    assert any(result.reason is Reason.RULE for result in results)


def test_two_calls_share_nothing() -> None:
    """A flip in one sandbox is not seen in another."""
    first, second = default_environments()[0], default_environments()[0]
    first.flip("dark_mode")
    assert second.flags["dark_mode"]["version"] == 1
    first.keys.clear()
    assert second.keys


def normalised(item: Item) -> object:
    """The document of a normalised item."""
    return msgspec.json.decode(item.wire)
