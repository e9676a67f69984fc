"""Regular expressions in Go's dialect, in linear time for any pattern (spec/evaluation#operators)."""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final

import re2

from ff_proxy.evaluation.attributes import utf8

Search = Callable[[str], bool]

# Skip quoted text and escapes, so that only a real \C matches.
_ANY_BYTE: Final = re.compile(r"\\Q.*?(?:\\E|\Z)|\\(?P<escaped>.)", re.DOTALL)


@lru_cache(maxsize=4096)
def compile_pattern(pattern: str) -> Search | None:
    r"""An unanchored search for ``pattern``, or ``None`` if Go would not compile it.

    RE2 and Go accept the same patterns except ``\C`` (any byte), which Go refuses. Failures are cached too.
    """
    if any(escape["escaped"] == "C" for escape in _ANY_BYTE.finditer(pattern)):
        return None
    options = re2.Options()
    options.log_errors = False
    options.never_capture = True
    try:
        # Search bytes: for text, every match would count characters.
        search = re2.compile(utf8(pattern), options).search
    except re2.error:
        return None
    return lambda text: search(utf8(text)) is not None
