"""Evaluations for client SDKs."""

import base64
import json

import pytest

from ff_proxy.errors import RequestError
from ff_proxy.model.environment import Domain, EnvironmentInfo
from ff_proxy.model.keys import EnvironmentId
from ff_proxy.sandbox.environment import Environment
from ff_proxy.sandbox.evaluations import Evaluations
from ff_proxy.sandbox.seed.build import BOOLEAN, clause, flag, rule, serve

INFO = EnvironmentInfo(EnvironmentId("e1"), identifier="dev")


@pytest.fixture
def environment() -> Environment:
    """One flag that is true for the plan ``pro``, and a target of that plan."""
    return Environment(
        INFO,
        flags=[
            flag(
                INFO,
                "f",
                "boolean",
                BOOLEAN,
                off="false",
                default=serve("false"),
                rules=[rule(1, serve("true"), clause("plan", "equal", "pro"))],
            )
        ],
        targets=[{"identifier": "ann", "attributes": {"plan": "pro"}}],
    )


def header(**target: object) -> str:
    """A ``Harness-Target`` header."""
    return base64.b64encode(json.dumps(target).encode()).decode()


def value(environment: Environment, identifier: str, described: str | None = None) -> str:
    """What ``f`` is for a target."""
    return Evaluations().one(environment, identifier, described, "f")["value"]


def test_a_registered_target_is_evaluated_with_its_attributes(environment: Environment) -> None:
    """Most client SDKs send them at authentication only."""
    assert value(environment, "ann") == "true"


def test_an_unknown_target_is_evaluated_by_its_identifier(environment: Environment) -> None:
    """It is no error."""
    assert value(environment, "bob") == "false"


def test_a_header_that_means_the_target_comes_first(environment: Environment) -> None:
    """The JavaScript SDK describes its target with every request."""
    assert value(environment, "ann", header(identifier="ann", attributes={"plan": "free"})) == "false"


@pytest.mark.parametrize("described", [header(identifier="bob", attributes={}), "%%%", "bm8=", "å"])
def test_a_header_that_does_not_is_left_aside(environment: Environment, described: str) -> None:
    """Of another target, or unreadable."""
    assert value(environment, "ann", described) == "true"


def test_the_list_has_exactly_the_fields_of_the_wire(environment: Environment) -> None:
    """Android refuses any other."""
    assert Evaluations().every(environment, "ann", None) == [
        {"flag": "f", "kind": "boolean", "value": "true", "identifier": "true"}
    ]


def test_a_change_is_seen_at_once(environment: Environment) -> None:
    """Clients ask right after the event."""
    evaluations = Evaluations()
    evaluations.every(environment, "ann", None)
    environment.flip("f", state="off")
    assert evaluations.every(environment, "ann", None)[0]["value"] == "false"
    environment.drop(Domain.FLAG, "f")
    assert evaluations.every(environment, "ann", None) == []


def test_another_environment_in_the_place_of_the_first_is_seen_too(environment: Environment) -> None:
    """Its revision may be the same."""
    evaluations = Evaluations()
    evaluations.every(environment, "ann", None)
    other = Environment(INFO)
    other.revision = environment.revision
    assert evaluations.every(other, "ann", None) == []


def test_an_unknown_flag_is_not_found(environment: Environment) -> None:
    """404."""
    with pytest.raises(RequestError) as refusal:
        Evaluations().one(environment, "ann", None, "g")
    assert refusal.value.status == 404
