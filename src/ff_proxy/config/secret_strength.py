"""Estimates how hard a secret is to guess for an attacker with unlimited attempts."""

import re
import string
from collections.abc import Iterator
from math import log2
from typing import Final

ENOUGH_BITS: Final = 70.0
"""More than anyone can try; 16 random bytes, in any notation, have many more."""

_WORD_BITS: Final = 6.0
_NEIGHBOUR_BITS: Final = 1.0
_REPEATED_BITS: Final = 0.25
_SEPARATORS: Final = frozenset("-_. ")
_HEXADECIMAL: Final = frozenset(string.hexdigits.lower())
# What people type in a hurry, and what documentation and charts have as examples.
_WORDS: Final = """
    abc access account admin and any api asdf auth authentication bar base baz bearer change changeit
    changeme company correct default demo dev development docker dummy enter env environment example
    fake feature ffproxy flag flags foo for generate goproxy guest harness hello here hmac horse hunter
    insert jwt key keyboard kubernetes letmein live local localhost login long master mine must new none
    not null only openssl pass passphrase passwd password placeholder please private prod production
    proxy qwerty random real relay replace root safe sample sandbox secret secrets secure server service
    set shared sign signing some something staging string strong super sure system temp temporary test
    testing that the this todo token top user value very welcome with word world xxx you your zaq
"""
_KNOWN: Final = re.compile("|".join(sorted(_WORDS.split(), key=len, reverse=True)))
_PLAIN: Final = str.maketrans("0134578@$!", "oieastbasi")


def guessing_bits(text: str) -> float:
    """The approximate entropy in bits for an attacker who knows common words and habits.

    Passphrases of words that are not in the list are overestimated.
    """
    text = text[: (text + text).find(text, 1)]  # a repetition counts once
    lower = text.lower()
    if len(lower) != len(text):  # a few capitals become two small letters
        lower = text
    word_starts, in_words = _words(lower)
    each = log2(_alphabet(text)) if text else 0.0
    seen: set[str] = set()
    bits = _WORD_BITS * word_starts
    for position, character in enumerate(lower):
        if position in in_words:
            continue
        pair = lower[max(position - 1, 0) : position + 1]
        if pair in seen:
            bits += _REPEATED_BITS
        elif character in _SEPARATORS or (len(pair) > 1 and abs(ord(pair[1]) - ord(pair[0])) <= 1):
            bits += _NEIGHBOUR_BITS
        else:
            bits += each
        seen.add(pair)
    return bits


def _words(text: str) -> tuple[int, set[int]]:
    """The number of different known words in ``text``, also with 3 for e, and the positions they take."""
    found: set[str] = set()
    taken: set[int] = set()
    for start, end, word in _matches(text):
        if taken.isdisjoint(range(start, end)):
            found.add(word)
            taken.update(range(start, end))
    return len(found), taken


def _matches(text: str) -> Iterator[tuple[int, int, str]]:
    for form in (text, text.translate(_PLAIN)):
        for match in _KNOWN.finditer(form):
            yield match.start(), match.end(), match[0]


def _alphabet(text: str) -> int:
    """The size of the alphabet that ``text`` seems to be drawn from."""
    used = frozenset(text)
    if used <= frozenset(string.digits):
        return 10
    if frozenset(text.lower()) <= _HEXADECIMAL:
        return 16
    groups = (string.digits, string.ascii_lowercase, string.ascii_uppercase, string.punctuation)
    size = sum(len(group) for group in groups if used & frozenset(group))
    return max(size, len(used), 2)
