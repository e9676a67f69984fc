"""Text on the wire: what stands for a value that should have been text, and text that UTF-8 can hold."""

import msgspec

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


def clean_text(text: str) -> str:
    """The same text with lone surrogates as U+FFFD, which is what Go's decoder makes of them."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
