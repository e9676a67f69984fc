"""Unicode simple case folding, which is what ``equal`` compares by (spec/evaluation#operators)."""


def fold(text: str) -> str:
    """``text`` with each character in the form that stands for all its cases.

    Neither ``casefold`` nor ``lower`` of the whole text will do: they change lengths, and so call
    ``straße`` and ``STRASSE`` equal, or keep ``ς`` and ``Σ`` apart.
    """
    return text.lower() if text.isascii() else "".join(map(_fold_character, text))


def _fold_character(character: str) -> str:
    for folded in (character.casefold(), character.lower()):
        if len(folded) == 1:
            return folded
    return character
