"""Unicode simple case folding, which ``equal`` uses (spec/evaluation#operators)."""


def fold(text: str) -> str:
    """Replace each character by one that represents all its cases.

    ``casefold`` of the whole text changes its length and makes ``straße`` equal ``STRASSE``; ``lower`` keeps
    ``ς`` and ``Σ`` different.
    """
    return text.lower() if text.isascii() else "".join(map(_fold_character, text))


def _fold_character(character: str) -> str:
    for folded in (character.casefold(), character.lower()):
        if len(folded) == 1:
            return folded
    return character
