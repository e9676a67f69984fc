"""Reads subject, issuer and validity of certificates (RFC 5280 §4.1).

The standard library does that only for certificates that a handshake has verified.
"""

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

RENEWAL_SECONDS: Final = 14 * 86400.0
"""Certificates that expire within this time cause a warning (spec/behaviour#certificates)."""

_BLOCK: Final = re.compile(
    rb"-----BEGIN ((?:X509 |TRUSTED )?CERTIFICATE)-----([A-Za-z0-9+/=\s]*)-----END \1-----"
)
_VERSION: Final = 0xA0
_UTC_TIME: Final = 0x17
_BMP_STRING: Final = 0x1E
_LONG_FORM: Final = 0x80
_COMMON_NAME: Final = b"\x55\x04\x03"
_ORGANIZATION: Final = b"\x55\x04\x0a"


@dataclass(frozen=True, slots=True)
class Certificate:
    """Subject and issuer for people; validity in seconds since the epoch."""

    subject: str
    issuer: str
    begins: float
    ends: float

    def good_at(self, moment: float) -> bool:
        """Whether it is valid at ``moment``."""
        return self.begins <= moment <= self.ends


def read_pem(text: bytes) -> list[Certificate]:
    """The certificates of a PEM file, in order; other blocks are ignored.

    Raises ``ValueError`` if there is none, if one cannot be read, or if the file ends within a block: it is
    still being written.
    """
    if text.count(b"-----BEGIN ") != text.count(b"-----END "):
        raise ValueError("the file is incomplete: a block has no end")
    found = [read_der(base64.b64decode(block[2])) for block in _BLOCK.finditer(text)]
    if not found:
        raise ValueError("it contains no certificate in PEM form")
    return found


def read_der(der: bytes) -> Certificate:
    """Parse one certificate; raises ``ValueError``."""
    try:
        _, whole = next(_values(der))
        _, signed = next(_values(whole))
        fields = _values(signed)
        tag, _ = next(fields)
        if tag == _VERSION:
            next(fields)  # the serial number
        next(fields)  # how it is signed
        issuer, validity, subject = next(fields), next(fields), next(fields)
        begins, ends = _values(validity[1])
        return Certificate(_name(subject[1]), _name(issuer[1]), _moment(*begins), _moment(*ends))
    except (StopIteration, IndexError, UnicodeDecodeError, OverflowError) as error:
        raise ValueError("it contains an unreadable certificate") from error


def _values(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The values in ``data``, each with its tag."""
    at = 0
    while at < len(data):
        tag, length = data[at], data[at + 1]
        at += 2
        if length & _LONG_FORM:
            octets = length & ~_LONG_FORM
            length = int.from_bytes(data[at : at + octets], "big")
            at += octets
        if at + length > len(data):
            raise IndexError
        yield tag, data[at : at + length]
        at += length


def _moment(tag: int, text: bytes) -> float:
    form = "%y%m%d%H%M%SZ" if tag == _UTC_TIME else "%Y%m%d%H%M%SZ"
    return datetime.strptime(text.decode("ascii"), form).replace(tzinfo=UTC).timestamp()


def _name(data: bytes) -> str:
    """The common name, followed by the organization; or whichever there is."""
    found: dict[bytes, str] = {}
    for _, relative in _values(data):
        for _, pair in _values(relative):
            (_, kind), (tag, text) = _values(pair)
            found[kind] = text.decode("utf-16-be" if tag == _BMP_STRING else "utf-8", "replace")
    common, organization = found.get(_COMMON_NAME, ""), found.get(_ORGANIZATION, "")
    if common and organization and common != organization:
        return f"{common} ({organization})"
    return common or organization or "no name"
