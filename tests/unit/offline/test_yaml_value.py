"""YAML means what JSON would mean."""

import pytest
import yaml

from ff_proxy.offline.yaml_value import YamlValues


def read(text: str) -> object:
    """The JSON value of a YAML text."""
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    assert node is not None
    return YamlValues(1000).of(node)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("~", None),
        ("null", None),
        ("'null'", "null"),
        ("true", True),
        ("on", "on"),
        ("No", "No"),
        ("2024-02-29", "2024-02-29"),
        ("12", 12),
        ("-1.50", -1.5),
        ("1.0e+3", 1000.0),
        ("0x1f", "0x1f"),
        ("012", "012"),
        ("1:30", "1:30"),
        ("!!str 12", "12"),
        ('"12"', "12"),
        ("|\n  12\n", "12\n"),
    ],
)
def test_scalars(text: str, value: object) -> None:
    """Nothing is a boolean, a number or null that would not be one in JSON."""
    read_value = read(text)
    assert read_value == value
    assert type(read_value) is type(value)


def test_fields_that_are_text_stay_text() -> None:
    """A boolean flag's variations can be written without quotes; other fields are read as they look."""
    text = """
    feature: 1.10
    state: on
    offVariation: false
    variations: [{identifier: true, value: true}]
    version: 7
    name:
    attributes: {name: true, id: 5}
    """
    assert read(text) == {
        "feature": "1.10",
        "state": "on",
        "offVariation": "false",
        "variations": [{"identifier": "true", "value": "true"}],
        "version": 7,
        "name": None,
        "attributes": {"name": True, "id": 5},
    }


def test_merge_keys_work() -> None:
    """Anchors spare repetition; own fields and earlier sources win."""
    text = """
    one: &one {a: 1, b: 1}
    two: &two {b: 2, c: 2}
    all: {<<: [*one, *two], a: 3}
    """
    assert read(text) == {"one": {"a": 1, "b": 1}, "two": {"b": 2, "c": 2}, "all": {"a": 3, "b": 1, "c": 2}}
