"""Writing evaluations (spec/sdk-wire#evaluations)."""

import json

import pytest

from ff_proxy.model.evaluation import Evaluation, Reason
from ff_proxy.wire.evaluation import encode_evaluation, json_string


def _evaluation(value: str, kind: str = "json") -> Evaluation:
    return Evaluation("f", kind, "v", value, Reason.DEFAULT)


def test_exactly_four_fields_in_order() -> None:
    """The reason stays inside; the order never changes."""
    encoded = encode_evaluation(_evaluation("é", "string"))
    assert encoded.decode() == '{"flag":"f","kind":"string","value":"é","identifier":"v"}'


@pytest.mark.parametrize(
    ("text", "encoded"),
    [
        ('{"a":1}', r'"{\"a\":1}"'),
        ("<&>", r'"\u003c\u0026\u003e"'),
        ("a\n\r\t\x01\\é", '"a\\n\\r\\t\\u0001\\\\é"'),
        ("\u2028", r'"\u2028"'),
        ("", '""'),
    ],
)
def test_json_string(text: str, encoded: str) -> None:
    """Text as Go's encoder writes it, which any decoder reads back."""
    assert json_string(text) == encoded
    assert json.loads(encoded) == text


@pytest.mark.parametrize("kind", ["string", "int", "boolean", "JSON"])
def test_only_json_is_escaped(kind: str) -> None:
    """Other kinds are what they are, also with ``json-values=escaped``."""
    assert encode_evaluation(_evaluation("<1>", kind), escape_json=True) == encode_evaluation(
        _evaluation("<1>", kind)
    )


def test_escaped_json_is_a_string_in_a_string() -> None:
    """An SDK that decodes once gets JSON text of a string, as from the Go proxy."""
    value = json.loads(encode_evaluation(_evaluation('{"a":1}'), escape_json=True))["value"]
    assert json.loads(json.loads(value)) == {"a": 1}


def test_text_that_utf8_cannot_hold() -> None:
    """A lone surrogate is replaced, so that the answer can be sent."""
    assert json.loads(encode_evaluation(_evaluation("\ud800")))["value"] == "\ufffd"
