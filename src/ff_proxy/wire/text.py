"""Text on the wire: what stands for a value that should have been text, and text that UTF-8 can hold."""

from typing import Final

import msgspec

_DEEPEST: Final = 100
_PLAIN: Final = frozenset({bool, int, float})
_encode = msgspec.json.Encoder().encode


def value_text(field: object) -> str:
    """A value that the wire wants as text: text stays, booleans and numbers as JSON writes them.

    Whole numbers have no fraction (``1`` for ``1.0``): SDKs parse them as integers.
    """
    if isinstance(field, str):
        return field
    if isinstance(field, float) and field.is_integer():
        return str(int(field))
    return _encode(field).decode()


def clean_text(field: object, depth: int = 0) -> object:
    """The same JSON value with lone surrogates as U+FFFD, which is what Go's decoder makes of them.

    What is nested deeper than anything real becomes null.
    """
    if isinstance(field, str):
        return (
            field if field.isascii() else field.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        )
    if depth > _DEEPEST:
        return None
    # Nearly everything is plain: it is told so without a call.
    if isinstance(field, dict):
        return {
            name if type(name) is str and name.isascii() else str(clean_text(name)): part
            if type(part) in _PLAIN or (type(part) is str and part.isascii())
            else clean_text(part, depth + 1)
            for name, part in field.items()
        }
    if isinstance(field, list):
        return [
            part if type(part) is str and part.isascii() else clean_text(part, depth + 1) for part in field
        ]
    return field
