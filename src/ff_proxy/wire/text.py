"""Text on the wire: the text of values that should have been text, and text that UTF-8 can encode."""

import msgspec

_encode = msgspec.json.Encoder().encode


def value_text(field: object) -> str:
    """A value as text: text is unchanged, booleans and numbers are written as in JSON.

    Whole numbers have no fraction (``1`` for ``1.0``): SDKs parse them as integers.
    """
    if isinstance(field, str):
        return field
    if isinstance(field, float) and field.is_integer():
        return str(int(field))
    return _encode(field).decode()


def clean_text(text: str) -> str:
    """Replace lone surrogates by U+FFFD, as Go's decoder does."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
