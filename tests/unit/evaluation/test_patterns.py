"""``match`` speaks Go's dialect of regular expressions (spec/evaluation#operators)."""

import pytest

from ff_proxy.evaluation.patterns import compile_pattern


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        ("b", "abc", True),
        ("^b", "abc", False),
        ("a$", "a\n", False),
        (r"a\z", "a", True),
        (r"^\d+$", "٣", False),
        (r"\pL", "é", True),
        (r"\p{Greek}", "λ", True),
        ("[[:alpha:]]", "1a", True),
        (r"\Qa.b\E", "a.b", True),
        (r"\Qa.b\E", "axb", False),
        (r"\x{41}", "A", True),
        ("x(?i)y", "xY", True),
        ("(?<n>a)", "a", True),
        (".", "é", True),
        ("^.$", "日", True),
        ("", "anything", True),
        (r"\\C", r"\C", True),
        (r"\Q\C\E", r"\C", True),
        ("a", "\ud800a", True),
    ],
)
def test_search(pattern: str, text: str, found: bool) -> None:
    """Found anywhere in the text, measured in characters."""
    search = compile_pattern(pattern)
    assert search is not None
    assert search(text) is found


@pytest.mark.parametrize(
    "pattern",
    [
        "(",
        "a++",
        "(?=a)",
        r"(a)\1",
        "(?>a)",
        "(?#c)",
        "(?x)a",
        r"\u0041",
        r"a\Z",
        "a{1001}",
        r"\C",
        r"a\\\C",
        "[z-a]",
    ],
)
def test_invalid_patterns(pattern: str, capfd: pytest.CaptureFixture[str]) -> None:
    """What Go does not compile is no pattern, and nothing is printed about it."""
    assert compile_pattern(pattern) is None
    assert capfd.readouterr() == ("", "")


@pytest.mark.timeout(5)
def test_linear_time() -> None:
    """A pattern that makes backtracking engines run for ever is harmless."""
    search = compile_pattern("^(a+)+$")
    assert search is not None
    assert search("a" * 50_000 + "b") is False
