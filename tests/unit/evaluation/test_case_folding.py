"""``equal`` compares by simple folding, character by character (spec/evaluation#operators)."""

import sys

import pytest

from ff_proxy.evaluation.attributes import fold


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("TEAM", "team"),
        ("ς", "Σ"),
        ("\u017f", "S"),
        ("µ", "μ"),
        ("\u212a", "k"),  # the Kelvin sign
        ("ẞ", "ß"),
        ("ÉCOLE", "école"),
        ("\U00010400", "\U00010428"),  # Deseret
    ],
)
def test_equal_pairs(one: str, other: str) -> None:
    """Characters that differ in case only fold alike, outside ASCII too."""
    assert fold(one) == fold(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("straße", "STRASSE"), ("ﬁ", "FI"), ("İ", "i̇"), ("İ", "i"), ("\u0131", "I"), ("ŉ", "\u02bcn")],
)
def test_unequal_pairs(one: str, other: str) -> None:
    """Full folding and locale rules would call these equal; Go does not."""
    assert fold(one) != fold(other)


def test_every_character_folds_to_one() -> None:
    """The length stays, and folding twice changes nothing; no script beyond the second plane has cases."""
    cased = map(chr, range(0x20000))
    assert [one for one in cased if len(folded := fold(one)) != 1 or fold(folded) != folded] == []
    others = "".join(map(chr, range(0x20000, sys.maxunicode + 1, 16)))
    assert fold(others) == others
