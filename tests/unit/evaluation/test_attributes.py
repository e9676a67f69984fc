"""Attributes read as the text that Go makes of them (spec/evaluation#attributes)."""

import pytest

from ff_proxy.evaluation.attributes import attribute_text, utf8


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("x", "x"),
        ("", ""),
        (True, "true"),
        (False, "false"),
        (None, "<nil>"),
        (1, "1"),
        (1.0, "1"),
        (2.5, "2.5"),
        (-0.0, "-0"),
        (1_000_000, "1000000"),
        (1234567.0, "1234567"),
        (1e21, "1000000000000000000000"),
        (1e-7, "0.0000001"),
        (9007199254740993, "9007199254740992"),
        (12345678901234567890, "12345678901234567000"),
        (5e-324, "0." + "0" * 323 + "5"),
        (10**400, ""),
        (float("inf"), ""),
        (float("nan"), ""),
    ],
)
def test_scalars(value: object, text: str) -> None:
    """A number has its shortest digits and never an exponent; booleans and null have words."""
    assert attribute_text(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ([], "[]"),
        (["a", "b"], "[a b]"),
        ([""], "[]"),
        ([1, 2.5, 1_000_000, True, None], "[1 2.5 1e+06 true <nil>]"),
        ([123456, 1234567, 0.0001, 0.00001, 0, -0.0], "[123456 1.234567e+06 0.0001 1e-05 0 -0]"),
        ([1e100, -1.5e-10], "[1e+100 -1.5e-10]"),
        ([[1], ["a", []]], "[[1] [a []]]"),
        ([{"k": 1, "b": [1]}], "[map[b:[1] k:1]]"),
        ([10**400, float("nan")], "[<nil> <nil>]"),
    ],
)
def test_lists(value: object, text: str) -> None:
    """A list prints its values with spaces, large and small numbers in it with exponents."""
    assert attribute_text(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({}, "{}"),
        ({"k": "v"}, '{"k":"v"}'),
        ({"b": 1, "a": [True, None]}, '{"a":[true,null],"b":1}'),
        ({"k": {"deep": {}}}, '{"k":{"deep":{}}}'),
        ({"k": '<a & "b">'}, r'{"k":"\u003ca \u0026 \"b\"\u003e"}'),
        (
            {"k": "\x00\x08\n\r\t\\\x7fé日\u2028\u2029"},
            '{"k":"\\u0000\\u0008\\n\\r\\t\\\\\x7fé日\\u2028\\u2029"}',
        ),
        (
            {"n": [1e20, 1e21, 1e-6, 1e-7, 1.0, -0.0]},
            '{"n":[100000000000000000000,1e+21,0.000001,1e-07,1,-0]}',
        ),
        ({"n": float("inf")}, '{"n":null}'),
    ],
)
def test_objects(value: object, text: str) -> None:
    """An object is compact JSON with sorted keys, escaped for HTML as Go does."""
    assert attribute_text(value) == text


@pytest.mark.parametrize("kind", ["list", "object"])
def test_depth_is_bounded(kind: str) -> None:
    """A value nested deeper than any stack has a text all the same."""
    value: object = "core"
    for _ in range(100_000):
        value = [value] if kind == "list" else {"k": value}
    text = attribute_text(value)
    assert "core" not in text
    assert ("<nil>" if kind == "list" else "null") in text


def test_utf8_of_a_lone_surrogate() -> None:
    """What UTF-8 cannot hold becomes U+FFFD, as in Go's decoder."""
    assert utf8("a\ud800é") == "a\ufffdé".encode()
