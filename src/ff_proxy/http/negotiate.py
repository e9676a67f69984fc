"""Reads the request header fields that shape a response: encoding, validators, request id."""

import re
from typing import Final

_TAGS: Final = re.compile(rb'"[^"]*"')
_QUALITY: Final = re.compile(rb";\s*q\s*=\s*([0-9.]+)")
_REQUEST_ID: Final = re.compile(rb"[!-~](?:[ -~]{0,198}[!-~])?")
_GZIP: Final = frozenset({b"gzip", b"x-gzip"})


def accepts_gzip(accept_encoding: bytes | None) -> bool:
    """Whether ``Accept-Encoding`` allows gzip (RFC 9110 §12.5.3); without the field it does not."""
    if not accept_encoding:
        return False
    star = False
    for part in accept_encoding.lower().split(b","):
        coding = part.partition(b";")[0].strip()
        if coding in _GZIP:
            return _accepted(part)
        if coding == b"*":
            star = _accepted(part)
    return star


def unchanged(if_none_match: bytes | None, etag: bytes) -> bool:
    """Whether ``If-None-Match`` (a list, weak tags, or ``*``) names ``etag``, by weak comparison."""
    if if_none_match is None:
        return False
    tag = etag.removeprefix(b"W/")
    return if_none_match == tag or if_none_match.strip() == b"*" or tag in _TAGS.findall(if_none_match)


def request_id(sent: bytes) -> bytes | None:
    """The client's request id, or ``None`` if it is not a valid header value."""
    return sent if _REQUEST_ID.fullmatch(sent) else None


def _accepted(part: bytes) -> bool:
    quality = _QUALITY.search(part)
    if quality is None:
        return True
    try:
        return float(quality[1]) > 0
    except ValueError:
        return False
